//! Log lines on standard error, as text or as JSON, one a line.
//!
//! Invariant: only this package's own events pass. HTTP libraries log whole URLs, and presigned URLs are secrets: no
//! level and no variable can switch those events on. Events carry their own fields; spans are not shown.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::output::{self, redact};

/// Progress lines: shown by default, without a level.
pub const PROGRESS: &str = "exporter::progress";
/// A line that belongs to the error or warning above it.
pub const DETAIL: &str = "exporter::detail";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `exporter: warning: line 12: …`
    Text,
    /// One object a line, with `time`, `level`, `message`, and `line` if it is about a row. All keys are in
    /// `doc/operations.md`.
    Json,
}

/// Starts logging. Only the first call has an effect.
pub fn start(format: Format, level: LevelFilter) {
    let colour = format == Format::Text && output::is_coloured(&std::io::stderr());
    let quiet = level < LevelFilter::WARN;
    let targets = Targets::new()
        .with_target("exporter", level)
        .with_target(PROGRESS, if quiet { LevelFilter::ERROR } else { level.max(LevelFilter::INFO) });
    let _ = tracing_subscriber::registry().with(Lines { format, colour }.with_filter(targets)).try_init();
}

struct Lines {
    format: Format,
    colour: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut record = Record::default();
        event.record(&mut record);
        record.hide_keys();
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        output::stderr_line(&match self.format {
            Format::Text => record.text(level, target, self.colour),
            Format::Json => record.json(level, &format!("{:.3}", jiff::Timestamp::now())),
        });
    }
}

/// One event's fields.
#[derive(Default)]
struct Record {
    message: String,
    line: Option<u64>,
    others: Map<String, Value>,
}

impl Record {
    /// Takes an API key that strayed into a path or a value out of the line.
    fn hide_keys(&mut self) {
        if let Cow::Owned(hidden) = redact::without_keys(&self.message) {
            self.message = hidden;
        }
        for value in self.others.values_mut() {
            if value.as_str().is_some_and(redact::holds_key) {
                *value = "(not shown)".into();
            }
        }
    }

    fn text(&self, level: Level, target: &str, colour: bool) -> String {
        let mut text = match target {
            PROGRESS => return format!("exporter: {}", redact::safe(&self.message)),
            DETAIL => "  ".to_owned(),
            _ => format!("exporter: {}: ", word(level, colour)),
        };
        if let Some(line) = self.line {
            let _ = write!(text, "line {line}: ");
        }
        text.push_str(&redact::safe(&self.message));
        // the message starts with the code
        for (name, value) in self.others.iter().filter(|(name, _)| *name != "error_code") {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = write!(text, " {name}={}", redact::safe(&value));
        }
        text
    }

    fn json(self, level: Level, time: &str) -> String {
        let mut object = Map::new();
        object.insert("time".to_owned(), time.into());
        object.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
        object.insert("message".to_owned(), self.message.into());
        if let Some(line) = self.line {
            object.insert("line".to_owned(), line.into());
        }
        for (name, value) in self.others {
            object.entry(name).or_insert(value);
        }
        Value::Object(object).to_string()
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.put(field, value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "line" => self.line = Some(value),
            _ => self.put(field, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.put(field, value),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

fn word(level: Level, colour: bool) -> String {
    let (word, style) = match level {
        Level::ERROR => ("error", AnsiColor::Red.on_default().bold()),
        Level::WARN => ("warning", AnsiColor::Yellow.on_default().bold()),
        Level::INFO => ("info", Style::new()),
        Level::DEBUG => ("debug", Style::new().dimmed()),
        _ => ("trace", Style::new().dimmed()),
    };
    if colour { format!("{style}{word}{style:#}") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let others = Map::from_iter([
            ("attempt".to_owned(), 2.into()),
            ("error_code".to_owned(), "broken".into()),
            ("level".to_owned(), "x".into()),
        ]);
        Record { message: "broke\u{1b}[m \"off\"".to_owned(), line: Some(12), others }
    }

    #[test]
    fn text_names_level_and_row_and_escapes_control_characters() {
        let text = record().text(Level::WARN, "exporter::fetch", false);
        assert_eq!(text, r#"exporter: warning: line 12: broke\u{1b}[m "off" attempt=2 level=x"#);
        assert_eq!(record().text(Level::INFO, PROGRESS, false), r#"exporter: broke\u{1b}[m "off""#);
        assert!(record().text(Level::ERROR, "exporter", true).contains("\u{1b}[31m"));
    }

    #[test]
    fn json_has_stable_keys_that_no_field_can_take_over() {
        let json: Value = serde_json::from_str(&record().json(Level::WARN, "now")).expect("JSON");
        let expected = serde_json::json!({
            "time": "now", "level": "warn", "message": "broke\u{1b}[m \"off\"", "line": 12, "attempt": 2,
            "error_code": "broken"
        });
        assert_eq!(json, expected);
    }
}
