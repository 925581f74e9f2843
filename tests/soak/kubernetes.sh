#!/usr/bin/env bash
# Every Kubernetes manifest in doc/operations.md against the schemas of the versions in use (PyPI: kubernetes-validate).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-python3}
"$python" -c 'import kubernetes_validate' 2> /dev/null || {
    echo "kubernetes-validate is not installed: pip install kubernetes-validate, and name its Python with PYTHON=" >&2
    exit 2
}
"$python" - "$root/doc/operations.md" << 'PYTHON'
import re
import sys

import kubernetes_validate
import yaml

text = open(sys.argv[1], encoding="utf-8").read()
blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)
objects = [one for block in blocks for one in yaml.safe_load_all(block) if "apiVersion" in one]
kinds = [one["kind"] for one in objects]
assert {"CronJob", "Job"} <= set(kinds), kinds
for version in ("1.31", "1.32", "1.33", "1.34"):
    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)
print(f"{', '.join(kinds)}: valid in 1.31 to 1.34")
PYTHON
