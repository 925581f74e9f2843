//! Bars as the template draws them: positions in per cent of the width and in `em`, so that texts keep their size at any
//! width. Pure.

use super::shown::cut;

/// Longest label, and longest on a phone: it shares a line with its value.
const LABEL_MAX: usize = 44;
const BRIEF_MAX: usize = 26;
/// Least width of a part that is not zero, in per cent: one row of a million must be seen.
const PART_MIN: f64 = 0.6;
/// Heights in `em`: of a bar, of the line above it, of the room below it.
const BAR: f64 = 0.8;
const TEXT: f64 = 1.45;
const ROOM: f64 = 0.65;

/// A picture of horizontal bars.
pub(super) struct Bars {
    pub id: &'static str,
    pub title: &'static str,
    pub description: String,
    pub height: String,
    pub lines: Vec<Bar>,
}

/// One bar with the line above it.
pub(super) struct Bar {
    /// Empty: there is no line.
    pub label: String,
    /// What is shown in place of a label that is too long for a phone.
    pub brief: Option<String>,
    pub value: String,
    pub text_y: String,
    pub y: String,
    pub height: String,
    pub parts: Vec<Part>,
}

/// A part of a bar, in per cent.
pub(super) struct Part {
    pub class: &'static str,
    pub x: String,
    pub width: String,
}

/// The numbers of a picture.
pub(super) struct Numbers {
    pub caption: &'static str,
    pub columns: Vec<&'static str>,
    pub lines: Vec<Vec<String>>,
}

impl Bars {
    pub fn new(id: &'static str, title: &'static str, description: String) -> Self {
        Self { id, title, description, height: "0".to_owned(), lines: Vec::new() }
    }

    /// One thick bar without a label.
    pub fn single(mut self, parts: &[(&'static str, u64)], whole: u64) -> Self {
        const HEIGHT: f64 = 2.2;
        self.height = em(HEIGHT);
        self.lines.push(Bar {
            label: String::new(),
            brief: None,
            value: String::new(),
            text_y: em(0.0),
            y: em(0.0),
            height: em(HEIGHT),
            parts: divide(parts, whole),
        });
        self
    }

    /// Adds a bar. `parts` are shares of `whole`, which is the whole width.
    pub fn add(&mut self, label: &str, value: String, parts: &[(&'static str, u64)], whole: u64) {
        let top = number(self.lines.len()) * (TEXT + BAR + ROOM);
        self.height = em(top + TEXT + BAR);
        self.lines.push(Bar {
            label: cut(label, LABEL_MAX),
            brief: (label.chars().count() > BRIEF_MAX).then(|| cut(label, BRIEF_MAX)),
            value,
            text_y: em(top + 1.05),
            y: em(top + TEXT),
            height: em(BAR),
            parts: divide(parts, whole),
        });
    }
}

/// Divides a bar. A part that is not zero is never too small to be seen; the largest one gives way.
fn divide(parts: &[(&'static str, u64)], whole: u64) -> Vec<Part> {
    let shares = parts.iter().filter(|(_, part)| *part > 0);
    let mut shares: Vec<(&'static str, f64)> =
        shares.map(|(class, part)| (*class, 100.0 * share(*part, whole))).collect();
    let mut taken = 0.0;
    for (_, width) in &mut shares {
        taken += (PART_MIN - *width).max(0.0);
        *width = width.max(PART_MIN);
    }
    let all: f64 = shares.iter().map(|(_, width)| width).sum();
    let largest = shares.iter_mut().max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((_, width)) = largest.filter(|_| all > 100.0) {
        *width -= taken;
    }
    let mut x = 0.0;
    shares
        .into_iter()
        .map(|(class, width)| {
            let part = Part { class, x: hundredths(x), width: hundredths(width) };
            x += width;
            part
        })
        .collect()
}

/// From 0 to 1.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    approximate(part) / approximate(whole.max(1))
}

pub(super) use crate::number::approximate;

fn number(count: usize) -> f64 {
    approximate(count as u64)
}

pub(super) fn em(value: f64) -> String {
    hundredths(value)
}

/// Two digits behind the point, if they say something.
pub(super) fn hundredths(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[(&'static str, u64)], whole: u64) -> Vec<(String, String)> {
        divide(parts, whole).into_iter().map(|part| (part.x, part.width)).collect()
    }

    #[test]
    fn parts_fill_the_bar_and_the_smallest_is_seen() {
        let pair = |x: &str, width: &str| (x.to_owned(), width.to_owned());
        assert_eq!(parts(&[("a", 1), ("b", 0), ("c", 3)], 4), [pair("0", "25"), pair("25", "75")]);
        let seen = parts(&[("a", 999_998), ("b", 1), ("c", 1)], 1_000_000);
        assert_eq!(seen, [pair("0", "98.8"), pair("98.8", "0.6"), pair("99.4", "0.6")]);
        assert!(parts(&[("a", 0)], 0).is_empty());
    }
}
