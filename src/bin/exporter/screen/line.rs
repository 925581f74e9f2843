//! The bar's two lines as text, for a given width. Pure: [`super::bar`] draws them.

use unicode_width::UnicodeWidthStr;

use super::state::{Phase, State};
use crate::output::format;

/// A longer bar shows no more.
const BAR_MAX: usize = 40;
/// A shorter bar shows nothing.
const BAR_MIN: usize = 8;

/// Both lines, neither wider than `width` columns. The first is missing until the work is known.
pub fn lines(state: &State, width: usize) -> Vec<String> {
    let status = status(state, width);
    match state.phase {
        Phase::Starting | Phase::Reading(_) | Phase::Checking => vec![status],
        _ => vec![bar(state, width), status],
    }
}

/// `[=====>      ]  23 %  11,600 of 50,000  16.0 images/s  12.0 MiB/s  40 min left`, or the parts of it that fit.
fn bar(state: &State, width: usize) -> String {
    let done = state.done();
    let percent = format!("{:>3} %", percent(done, state.rows));
    let rows = format!("{} of {}", format::count(done), format::count(state.rows));
    let speed = state.speed();
    let part = |text: Option<String>| text.map(|text| format!("  {text}")).unwrap_or_default();
    let images = part(speed.map(|(rows, _)| format!("{}/s", format::per_second(rows))));
    let images_long = part(speed.map(|(rows, _)| format!("{} images/s", format::per_second(rows))));
    let bytes = part(speed.map(|(_, bytes)| format!("{}/s", format::bytes(whole(bytes)))));
    let left = part(state.time_left().map(|left| format!("{} left", format::duration(left))));
    let texts = [
        format!("{percent}  {rows}{images_long}{bytes}{left}"),
        format!("{percent}  {rows}{images}{bytes}{left}"),
        format!("{rows}{images}{bytes}{left}"),
        format!("{rows}{images}{left}"),
        rows,
    ];
    let fits = |text: &&String| text.len() + BAR_MIN + 4 <= width;
    let Some(text) = texts.iter().find(fits) else { return cut(&texts[4], width) };
    let cells = (width - text.len() - 4).min(BAR_MAX);
    format!("[{}]  {text}", cells_of(done, state.rows, cells))
}

fn cells_of(done: u64, rows: u64, cells: usize) -> String {
    let full = match rows {
        0 => cells,
        _ => usize::try_from(u128::from(done) * cells as u128 / u128::from(rows)).unwrap_or(cells),
    };
    let head = if full < cells { ">" } else { "" };
    format!("{:<cells$}", format!("{}{head}", "=".repeat(full)))
}

/// Rounded down: 100 means every row.
pub fn percent(done: u64, rows: u64) -> u64 {
    if rows == 0 { 100 } else { u64::try_from(u128::from(done) * 100 / u128::from(rows)).unwrap_or(100) }
}

/// `32 downloading, 3 asking (up to 48 in flight), 12 retries, 3 failed`: the words are cut, the numbers after them stay.
fn status(state: &State, width: usize) -> String {
    let (retries, failed) = (state.now.retries, state.failed());
    let retries = if retries > 0 { format!(", {}", format::retries(retries)) } else { String::new() };
    let failed = if failed > 0 { format!(", {} failed", format::count(failed)) } else { String::new() };
    let numbers = retries + &failed;
    let doing = cut(&state.doing(), width.saturating_sub(numbers.len()));
    cut(&format!("{doing}{numbers}"), width)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; never negative")]
pub const fn whole(number: f64) -> u64 {
    number as u64
}

/// Cuts every line of `text` to `width` columns.
pub fn fit(text: &str, width: usize) -> String {
    text.lines().map(|line| cut(line, width) + "\n").collect()
}

/// Cuts to `width` columns of the terminal: a line that wraps would be left behind when the bar is redrawn. A host
/// name or a server's words may be in any script.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    while short.width() + 2 > width && short.pop().is_some() {}
    short + &".."[..width.min(2)]
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::state::tests::running;
    use super::*;

    fn at(state: &State, width: usize) -> String {
        let lines = lines(state, width);
        assert!(lines.iter().all(|line| line.width() <= width), "{lines:#?}");
        lines.join("\n")
    }

    fn troubled() -> State {
        let mut state = running(600);
        (state.now.retries, state.now.failed) = (1_204, 37);
        state.outage = Some("connecting to api.maxcare.ai: no route to host, and then some".to_owned());
        state
    }

    #[test]
    fn the_lines_fit_60_columns() {
        assert_snapshot!(at(&running(600), 60), @"
        [=======>           ]  19,600 of 50,000  16.0/s  31 min left
        32 downloading, 3 asking, 200 waiting for the allowance (u..
        ");
        assert_snapshot!(at(&troubled(), 60), @"
        [=======>           ]  19,637 of 50,000  16.0/s  31 min left
        outage: connecting to api.maxcar.., 1,204 retries, 37 failed
        ");
    }

    #[test]
    fn the_lines_fit_80_columns() {
        assert_snapshot!(at(&running(600), 80), @"
        [=====>       ]   39 %  19,600 of 50,000  16.0 images/s  12.0 MiB/s  31 min left
        32 downloading, 3 asking, 200 waiting for the allowance (up to 48 in flight)
        ");
        assert_snapshot!(at(&troubled(), 80), @"
        [=====>       ]   39 %  19,637 of 50,000  16.0 images/s  12.0 MiB/s  31 min left
        outage: connecting to api.maxcare.ai: no route to ho.., 1,204 retries, 37 failed
        ");
    }

    #[test]
    fn the_bar_does_not_grow_without_end() {
        assert_snapshot!(at(&running(600), 200), @"
        [===============>                        ]   39 %  19,600 of 50,000  16.0 images/s  12.0 MiB/s  31 min left
        32 downloading, 3 asking, 200 waiting for the allowance (up to 48 in flight)
        ");
    }

    #[test]
    fn every_line_is_cut_to_the_width_and_stays_one() {
        assert_eq!(fit("running: reading\nrows 7\n", 10), "running:..\nrows 7\n");
    }

    #[test]
    fn wide_and_combining_characters_are_counted_in_columns() {
        assert_eq!(cut("画像画像", 8), "画像画像");
        assert_eq!(cut("画像画像", 7), "画像..");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 3), "e\u{301}e\u{301}e\u{301}");
    }

    #[test]
    fn no_width_is_too_small() {
        for width in 0..100 {
            at(&troubled(), width);
            at(&State::default(), width);
        }
    }

    #[test]
    fn all_done_is_a_full_bar_and_almost_all_is_not() {
        assert_eq!(cells_of(10, 10, 5), "=====");
        assert_eq!(cells_of(9_999, 10_000, 5), "====>");
        assert_eq!(cells_of(0, 0, 5), "=====");
        assert_eq!(percent(9_999, 10_000), 99);
    }
}
