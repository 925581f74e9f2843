//! The runs of the shards as one run. Pure, but for who merges.

use jiff::Timestamp;

use crate::ledger::RunRow;

/// The merge as a run: it began with the first run of its job and ended with the last one.
pub(super) fn as_run(id: i64, manifest_sha256: String, job: &[RunRow]) -> RunRow {
    let start = RunRow::starting(manifest_sha256);
    let started_at = job.iter().map(|run| &run.started_at).min().unwrap_or(&start.started_at).clone();
    let ends = job.iter().filter_map(|run| run.finished_at.as_ref());
    let finished_at = ends.max().unwrap_or(&started_at).clone();
    let seconds = seconds_between(&started_at, &finished_at);
    let shares = job.iter().filter_map(|run| run.allowance_share);
    let share = shares.reduce(|all, share| (all + share).min(1.0));
    let sum = |count: fn(&RunRow) -> u64| job.iter().map(count).sum();
    RunRow {
        id,
        started_at,
        finished_at: Some(finished_at),
        seconds,
        bytes: sum(|run| run.bytes),
        api_requests: sum(|run| run.api_requests),
        api_429: sum(|run| run.api_429),
        retries: sum(|run| run.retries),
        allowance_share: share,
        ..start
    }
}

fn seconds_between(from: &str, to: &str) -> f64 {
    match (from.parse::<Timestamp>(), to.parse::<Timestamp>()) {
        (Ok(from), Ok(to)) => to.duration_since(from).as_secs_f64().max(0.0),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_lasts_from_its_first_run_to_its_last_one_and_did_what_all_did() {
        let run = |started: &str, finished: Option<&str>, requests, share| RunRow {
            started_at: format!("2026-03-01T{started}Z"),
            finished_at: finished.map(|finished| format!("2026-03-01T{finished}Z")),
            api_requests: requests,
            allowance_share: share,
            ..RunRow::default()
        };
        let job = [
            run("08:00:00", Some("09:00:00"), 10, Some(0.5)),
            run("07:00:00", None, 5, None),
            run("08:30:00", Some("09:30:00"), 20, Some(0.6)),
        ];
        let merged = as_run(7, "m".to_owned(), &job);
        assert_eq!((merged.id, &*merged.started_at), (7, "2026-03-01T07:00:00Z"));
        assert_eq!(merged.finished_at.as_deref(), Some("2026-03-01T09:30:00Z"));
        assert_eq!((merged.api_requests, merged.allowance_share, merged.seconds), (35, Some(1.0), 9000.0));
    }
}
