# Recipes for daily work; `just` lists them

_default:
    @just --list

# every check that a change must pass
ci:
    .ci/run

# the real program against a local API and S3
demo:
    cargo run --release --example demo

# keep the local API and S3 running
sandbox:
    cargo run --release --example sandbox

# one test or one module of tests, by a part of its name
test NAME:
    cargo test {{NAME}}

# benchmarks of single parts
bench:
    cargo bench --bench inner
    cargo bench --bench request_clock
    cargo bench --bench line -- --quick

# the race against other tools: rounds of 10,000 x 64 KiB, 400 x 4 MiB, 3 x 512 MiB
peers ROUNDS="3":
    benches/peers.sh {{ROUNDS}}

# long tests with injected faults, one script after the other (as root: they mount, cut and fill disks)
soak:
    for script in tests/soak/[a-z]*.sh; do case $script in */lib.sh) ;; *) "$script" ;; esac; done

# accept changed snapshots; read the diff before you commit it
snapshots:
    INSTA_UPDATE=always cargo test
    git diff -- '*.snap'
