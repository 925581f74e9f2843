//! The delivered images: how large they are, and what vouches for them.

use std::collections::BTreeMap;

use super::chart::{Bars, Numbers};
use super::shown::{percent, short};
use crate::number::{bytes, count, counted};
use crate::report::details::{Details, SIZE_LIMITS};

/// Kinds of checks that are shown.
const CHECKS_MAX: usize = 12;

/// A picture of the images with its numbers.
pub(super) struct Images {
    pub summary: String,
    pub chart: Option<Bars>,
    pub table: Numbers,
}

impl Images {
    /// How large they are.
    pub fn sizes(details: &Details) -> Self {
        let columns = vec!["Size", "Images", "Share"];
        let caption = "Images by size";
        let Some(summary) = size_summary(details) else { return Self::none(caption, columns) };
        let first = details.sizes.iter().position(|images| *images > 0).unwrap_or_default();
        let last = details.sizes.iter().rposition(|images| *images > 0).unwrap_or_default();
        let groups: Vec<_> = (first..=last).map(|group| (size_name(group), details.sizes[group])).collect();
        let description = format!("One bar for each size, the smallest first. {summary}");
        Self::bars(
            "sizes-c",
            "Images by size",
            description,
            summary,
            Numbers { caption, columns, lines: Vec::new() },
            &groups,
            details.images,
        )
    }

    /// What vouches for their bytes.
    pub fn checks(details: &Details) -> Self {
        let columns = vec!["Held against", "Images", "Share"];
        let caption = "Images by check";
        if details.images == 0 {
            return Self::none(caption, columns);
        }
        let mut by_check: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut checks, mut unchecked) = (0, 0);
        for (names, images) in &details.checked_by {
            for name in names.split('+').filter(|name| !name.is_empty()) {
                *by_check.entry(name).or_default() += images;
                checks += images;
            }
            unchecked += if names.is_empty() { *images } else { 0 };
        }
        let mut groups: Vec<_> =
            by_check.into_iter().map(|(name, images)| (check_name(name), images)).collect();
        groups.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        groups.truncate(CHECKS_MAX);
        if unchecked > 0 {
            groups.push(("nothing but the bytes".to_owned(), unchecked));
        }
        let tenths = checks * 10 / details.images;
        let summary = format!(
            "{}.{} checks an image: the bytes that came were held against what the storage and the manifest say of them{}.",
            tenths / 10,
            tenths % 10,
            if unchecked > 0 {
                format!("; {} had nothing to be held against", counted(unchecked, "image"))
            } else {
                String::new()
            }
        );
        let description = format!("One bar for each check, the most frequent first. {summary}");
        Self::bars(
            "checks-c",
            "Images by check",
            description,
            summary,
            Numbers { caption, columns, lines: Vec::new() },
            &groups,
            details.images,
        )
    }

    fn none(caption: &'static str, columns: Vec<&'static str>) -> Self {
        let summary = "No image of the manifest is delivered.".to_owned();
        Self { summary, chart: None, table: Numbers { caption, columns, lines: Vec::new() } }
    }

    fn bars(
        id: &'static str,
        title: &'static str,
        description: String,
        summary: String,
        mut table: Numbers,
        groups: &[(String, u64)],
        images: u64,
    ) -> Self {
        let mut chart = Bars::new(id, title, description);
        for (label, of_these) in groups {
            chart.add(label, count(*of_these), &[("stored", *of_these)], images);
            table.lines.push(vec![label.clone(), count(*of_these), percent(*of_these, images)]);
        }
        Self { summary, chart: Some(chart), table }
    }
}

fn size_summary(details: &Details) -> Option<String> {
    let mean = details.bytes.checked_div(details.images)?;
    Some(format!(
        "{}, {} in all: {} on average, {} at most.",
        counted(details.images, "image"),
        bytes(details.bytes),
        bytes(mean),
        bytes(details.largest)
    ))
}

/// `16 to 64 KiB`.
fn size_name(group: usize) -> String {
    let limit = |at: usize| SIZE_LIMITS.get(at).map(|limit| bytes(*limit).replace(".0", ""));
    match (group.checked_sub(1).and_then(limit), limit(group)) {
        (None, Some(below)) => format!("below {below}"),
        (Some(from), Some(below)) => match (from.split_once(' '), below.split_once(' ')) {
            (Some((from, unit)), Some((_, same))) if unit == same => format!("{from} to {below}"),
            _ => format!("{from} to {below}"),
        },
        (Some(from), None) => format!("{from} and more"),
        (None, None) => String::new(),
    }
}

/// A check in words.
fn check_name(name: &str) -> String {
    match name {
        "length" => "the length".to_owned(),
        "etag-md5" => "the ETag's MD5".to_owned(),
        "manifest-sha256" => "the manifest's SHA-256".to_owned(),
        "image-end" => "the end of the image".to_owned(),
        _ => match name.strip_prefix("x-amz-checksum-") {
            Some(algorithm) => format!("the storage's {}", short(&algorithm.to_uppercase())),
            None => short(name),
        },
    }
}
