//! Settings as flags again, for the commands that are named as the next ones: they work as they are printed.

use std::fmt::Write as _;
use std::path::Path;

use super::{Sources, table};
use crate::output::redact;

/// Those of `settings` that did not come from their default, as flags, a blank before each; before them the config
/// file, where one was named.
pub fn again(sources: &Sources<'_>, settings: &[&table::Setting]) -> String {
    let told = sources.told();
    let mut text = String::new();
    if let Some(config) = sources.config().filter(|_| sources.config_is_named()) {
        let _ = write!(text, " --config {}", redact::shell(config));
    }
    for setting in settings {
        let found = told.iter().filter(|told| told.flag == setting.flag).flat_map(|told| &told.found);
        for found in found {
            let flag = if setting.flag == table::OUT.flag { "-o" } else { &*format!("--{}", setting.flag) };
            // as it can be typed
            let value = if found.value == "\t" { "tab".as_ref() } else { &*found.value };
            let _ = write!(text, " {flag} {}", redact::shell(Path::new(value)));
        }
    }
    text
}

/// As [`again`], for `failed.csv`: its columns have the manifest's names, but it is separated by commas.
pub fn for_failed(sources: &Sources<'_>) -> String {
    let mut text = again(sources, &[&table::OUT, &table::STATE_DIR, &table::COLUMNS]);
    let told = sources.told();
    let delimiter = told.iter().find(|told| told.flag == table::DELIMITER.flag);
    if delimiter.is_some_and(|told| told.found.iter().any(|found| found.value != ",")) {
        text.push_str(" --delimiter ,");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_given_again_in_the_words_of_a_shell() {
        let none = |_: &str| None;
        let sources = Sources::new(&none);
        let _ = sources.value(&table::OUT, None);
        assert_eq!(for_failed(&sources), "");
        let env = |name: &str| (name == "EXPORTER_OUT").then(|| "my export".into());
        let sources = Sources::new(&env);
        let _ = sources.value(&table::OUT, None);
        let _ = sources.value(&table::STATE_DIR, Some("/state".as_ref()));
        let _ = sources.value(&table::COLUMNS, Some("org=Clinic Id".as_ref()));
        let _ = sources.value(&table::DELIMITER, Some("\t".as_ref()));
        assert_eq!(
            for_failed(&sources),
            " -o 'my export' --state-dir /state --columns 'org=Clinic Id' --delimiter ,"
        );
        assert_eq!(again(&sources, &[&table::OUT, &table::DELIMITER]), " -o 'my export' --delimiter tab");
    }
}
