//! The page of small and of very large exports.

use super::*;
use crate::ledger::SpanKind;
use crate::report::details::Details;
use crate::report::{Counts, Notes, Org};

fn page(summary: &Summary, runs: &[RunRow], samples: &[Sample], spans: &[Span]) -> String {
    let payload = Payload { bytes: 7 << 30, images: 4000 };
    Page::of(summary, payload, runs, samples, spans).render().expect("rendered")
}

/// The largest numbers, the longest texts and the most of everything, in characters that grow when they are escaped.
fn largest() -> (Summary, Vec<RunRow>, Vec<Sample>, Vec<Span>) {
    let long = "&\"<".repeat(85);
    let most = u64::MAX >> 20;
    let org = |n: u64| Org {
        org: format!("{n}{long}"),
        rows: most,
        delivered: 7,
        failed: most / n,
        untried: 9,
        complete: false,
    };
    let mut details = Details::default();
    for code in crate::error::ErrorCode::ALL {
        for line in 0..100 {
            details.add_failure(code.as_str(), most - line, &long);
        }
    }
    for bit in 0..40 {
        details.add_image(1 << bit, &format!("length+x-amz-checksum-{bit}{long}"));
    }
    let run = RunRow {
        started_at: long.clone(),
        stop: Some(long.repeat(9)),
        exit_code: Some(143),
        user: long.clone(),
        host: long.clone(),
        version: long.clone(),
        manifest_sha256: long.clone(),
        bytes: most,
        api_requests: most,
        ..RunRow::default()
    };
    let sample = |minute| Sample {
        minute,
        requests: most,
        answers_429: 9,
        images: most,
        bytes: most,
        in_flight: most,
        allowance: 1e15,
    };
    let span = |n: u64| Span {
        what: if n.is_multiple_of(2) { SpanKind::Wait } else { SpanKind::Outage },
        began: n * 997,
        ended: n * 1009,
    };
    let summary = Summary {
        counts: Counts { rows: most, stored: 1, skipped: 1, duplicate: 1, failed: most - 4, untried: 1 },
        orgs: (1..=4000).map(org).collect(),
        notes: Notes { total: most, complete: 3, incomplete: most - 3, ..Notes::default() },
        details,
        started_at: long.clone(),
        finished_at: long.clone(),
        host: long.clone(),
        user: long.clone(),
        version: long.clone(),
        manifest_sha256: long.clone(),
        stop: Some(long.repeat(9)),
        exit_code: Some(1),
        ..Summary::default()
    };
    (summary, vec![run; 5000], (0..20_000).map(sample).collect(), (0..900).map(span).collect())
}

#[test]
fn the_largest_page_stays_below_the_limit() {
    let (summary, runs, samples, spans) = largest();
    let page = page(&summary, &runs, &samples, &spans);
    assert!(page.len() < PAGE_MAX, "{} bytes", page.len());
    assert!(
        page.contains("3,960 other organizations") && page.contains("and 80 more"),
        "the rest is summed up"
    );
    assert!(!page.contains("&\"<"), "texts are escaped");
}

#[test]
fn every_picture_has_a_title_a_description_and_its_numbers() {
    let (summary, runs, samples, spans) = largest();
    let page = page(&summary, &runs, &samples, &spans);
    let number = |text: &str| page.matches(text).count();
    assert_eq!(number("<svg "), 7);
    for once in ["<title id=", "<desc id=", "role=\"img\""] {
        assert_eq!(number(once), 7, "{once}");
    }
    assert!(number("<table") >= 7);
    for tag in
        ["section", "table", "svg", "details", "figure", "ul", "div", "thead", "tbody", "tr", "text", "desc"]
    {
        assert_eq!(
            number(&format!("<{tag} ")) + number(&format!("<{tag}>")),
            number(&format!("</{tag}>")),
            "{tag}"
        );
    }
}

#[test]
fn an_empty_page_says_what_there_is_not() {
    let page = page(&Summary::default(), &[], &[], &[]);
    for words in ["Nothing is known of any run", "No row failed", "There was none", "The manifest names none"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("NaN"), "{page}");
}
