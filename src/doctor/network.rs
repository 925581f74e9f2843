//! Key, API, organization, scopes, clock, proxy and certificates.

use std::time::{Duration, SystemTime};

use super::{Checks, DoctorOptions};
use crate::error::{ErrorResponse, Failure};
use crate::event::Events;
use crate::item::{ImageId, Item, NoteId, OrgId};
use crate::limit::Limiter;
use crate::options::STALL_TIMEOUT;
use crate::remote::Remote;
use crate::remote::http::{AppContext, Http, ProxySettings, WhoAmI, certificates, check_system_certificates};

/// A smaller difference does no harm: certificates and presigned URLs are valid for an hour and longer.
const CLOCK_DRIFT_MAX: Duration = Duration::from_mins(2);
/// With a larger difference a valid certificate may look expired.
const CLOCK_DRIFT_FATAL: Duration = Duration::from_hours(24);
/// The scope that reads notes; the vendor's documentation does not say which one images need.
const SCOPE: &str = "read:notes";
/// How long a request waits for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// An id that no note and no image has.
const NO_ID: &str = "00000000-0000-4000-8000-000000000000";

const GRANT: &str = "ask the clinic to grant the app what the message names, then try again";

pub(super) async fn check(options: &DoctorOptions, checks: &mut Checks) {
    let proxy = ProxySettings::from_env();
    match &proxy {
        None => checks.ok("proxy", "none"),
        Some(proxy) => checks.ok("proxy", format!("HTTPS_PROXY is set: through {}", proxy.name())),
    }
    let trusts = ca(options, checks);
    let http = match Http::new(&options.api, STALL_TIMEOUT, proxy.as_ref()) {
        Ok(http) => http,
        Err(_) if !trusts => return checks.warning("api", "not asked: no certificate is trusted", "see ca"),
        Err(error) => return checks.problem("proxy", error.to_string(), "correct HTTPS_PROXY"),
    };
    let limiter = limiter(options);
    let requests = 1 + u64::from(options.org.is_some());
    let Some(mut permit) = limiter.acquire_within(requests, PERMIT_TIMEOUT).await else {
        return not_asked(options, checks);
    };
    permit.sent();
    let asked = http.whoami(options.org.as_ref()).await;
    permit.answered(&asked.rate_headers);
    let now = SystemTime::now();
    api(options, &asked, checks);
    key(options, &asked, checks);
    let tried = match (&options.org, &asked.context) {
        (Some(org), Ok(_) | Err(Failure::Forbidden(_) | Failure::NotFound(_)))
            if options.no_key.is_none() =>
        {
            ask_for_no_image(&http, &limiter, org).await
        }
        _ => None,
    };
    organization(options, &asked, tried.as_ref(), checks);
    scopes(&asked, tried.as_ref(), checks);
    clock(asked.date, now, checks);
}

/// Which certificates are trusted. False: none, so that no https connection can be made.
fn ca(options: &DoctorOptions, checks: &mut Checks) -> bool {
    const NAME: &str = "ca";
    let system = check_system_certificates();
    let file = match options.api.ca_file.as_deref().map(certificates).transpose() {
        Ok(file) => file.map(|found| found.len()),
        Err(error) => {
            checks.problem(NAME, error.to_string(), "name another file with --ca-file");
            return false;
        }
    };
    match (file, system) {
        (None, Ok(())) => checks.ok(NAME, "the system's certificates"),
        (Some(found), Ok(())) => {
            checks.ok(NAME, format!("{found} of --ca-file besides the system's certificates"));
        }
        (Some(found), Err(_)) => checks.ok(NAME, format!("{found} of --ca-file; the system has none")),
        (None, Err(why)) => {
            let found = format!("the system has no certificates to trust: {why}");
            let remedy = "install them (the package ca-certificates; check SSL_CERT_FILE and SSL_CERT_DIR), or name \
                          a file of certificates with --ca-file";
            checks.problem(NAME, found, remedy);
            return false;
        }
    }
    true
}

/// The limiter that runs with this key share; without a key, one of its own.
fn limiter(options: &DoctorOptions) -> Limiter {
    match &options.limiter_dir {
        Some(folder) if options.no_key.is_none() => {
            Limiter::shared(options.rate, &options.api, folder, Events::none()).as_guest()
        }
        _ => Limiter::new(options.rate),
    }
}

/// Runs have used up the allowance: a request now would be one too many.
fn not_asked(options: &DoctorOptions, checks: &mut Checks) {
    let seconds = PERMIT_TIMEOUT.as_secs();
    let found = format!("not asked: runs with this key leave no request free within {seconds} s");
    checks.warning("api", found, "try again when fewer runs are going on");
    for name in ["key", "organization", "scopes", "clock"] {
        if name != "organization" || options.org.is_some() {
            checks.warning(name, "not known: the API was not asked", "see api");
        }
    }
}

/// Asks for an image that does not exist: the answer shows whether the API would grant one that does.
async fn ask_for_no_image(http: &Http, limiter: &Limiter, org: &OrgId) -> Option<Failure> {
    let item = Item {
        seq: 0,
        line: 0,
        org: org.clone(),
        note: NoteId::new(NO_ID),
        image: ImageId::new(NO_ID),
        wanted: None,
        stem: String::new(),
        part: String::new(),
        replaces: None,
    };
    let mut permit = limiter.acquire_within(1, PERMIT_TIMEOUT).await?;
    permit.sent();
    let resolved = http.signed_url(&item).await;
    permit.answered(&resolved.rate_headers);
    resolved.url.err()
}

/// Whether there is an API at the address, and it answers.
fn api(options: &DoctorOptions, asked: &WhoAmI, checks: &mut Checks) {
    const NAME: &str = "api";
    let host = options.api.url.host_str().unwrap_or_default();
    let failure = match &asked.context {
        Ok(_)
        | Err(
            Failure::Unauthorized(_)
            | Failure::Forbidden(_)
            | Failure::BadRequest(_)
            | Failure::RateLimited(_),
        ) => return checks.ok(NAME, format!("{host} answers")),
        Err(failure) => failure,
    };
    let found = failure.describe().error;
    let remedy = match failure {
        Failure::Tls { .. } => {
            "check the address, the clock and the certificates (--ca-file names more to trust)"
        }
        Failure::ForeignAnswer { .. } => return checks.problem(NAME, found, &failure.describe().advice()),
        Failure::NotFound(_) | Failure::ApiRejected(_) | Failure::ApiMalformed(_) => {
            "check --api-url (MAXAI_API_URL): a base address such as https://api.maxcare.ai/v2"
        }
        Failure::ApiDown(_) => "try again later; a run waits up to --max-outage for an outage to end",
        _ => "check the address (--api-url), DNS, the firewall and the proxy",
    };
    checks.problem(NAME, found, remedy);
}

fn key(options: &DoctorOptions, asked: &WhoAmI, checks: &mut Checks) {
    const NAME: &str = "key";
    if let Some(why) = &options.no_key {
        let remedy = "put the key into a file and name it with --api-key-file, or set MAXAI_API_KEY";
        return checks.problem(NAME, why.clone(), remedy);
    }
    match &asked.context {
        Ok(_) => checks.ok(NAME, "accepted"),
        // the key is known, but not permitted to do this
        Err(Failure::Forbidden(_)) => checks.ok(NAME, "accepted, but see scopes"),
        Err(Failure::Unauthorized(said)) => checks.problem(
            NAME,
            format!("the API refuses it: {said}"),
            "check MAXAI_API_KEY or --api-key-file: the key may be revoked, or be one of another environment",
        ),
        Err(Failure::RateLimited(_)) => {
            checks.warning(
                NAME,
                "not known: the API answered 429, its allowance is used up",
                "try again in a minute",
            );
        }
        Err(_) => checks.warning(NAME, "not known: the API gave no answer to it", "see api"),
    }
}

/// The organization that was asked for, if one was.
fn organization(options: &DoctorOptions, asked: &WhoAmI, tried: Option<&Failure>, checks: &mut Checks) {
    const NAME: &str = "organization";
    let Some(org) = &options.org else { return };
    let shown = crate::error::clean(org.as_str());
    if let Some(Failure::BadRequest(said)) = tried
        && said.message.to_ascii_lowercase().contains("organization")
    {
        return checks.problem(
            NAME,
            format!("the API refuses {shown}: {said}"),
            "check the id of the clinic",
        );
    }
    match &asked.context {
        Ok(AppContext { organization: Some(other), .. }) if !same_id(other, org.as_str()) => checks.warning(
            NAME,
            format!("the API answers for {other}, not for {shown}"),
            "check the id of the clinic",
        ),
        Ok(_) => checks.ok(NAME, shown),
        Err(_) => checks.warning(NAME, format!("not known for {shown}"), "see api, key and scopes"),
    }
}

/// Later versions of the API write `org_` and the UUID without dashes.
fn same_id(a: &str, b: &str) -> bool {
    let bare = |id: &str| id.strip_prefix("org_").unwrap_or(id).replace('-', "").to_ascii_lowercase();
    bare(a) == bare(b)
}

fn scopes(asked: &WhoAmI, tried: Option<&Failure>, checks: &mut Checks) {
    const NAME: &str = "scopes";
    let refused = |said: &ErrorResponse| format!("the API answered {said}");
    match (tried, &asked.context) {
        (Some(Failure::Forbidden(said)), _) | (None, Err(Failure::Forbidden(said))) => {
            checks.problem(NAME, refused(said), GRANT);
        }
        // the API looked for the image, so it grants those that exist
        (Some(Failure::NotFound(_)), Ok(_)) => checks.ok(NAME, "images may be requested"),
        (_, Ok(AppContext { scopes: Some(scopes), .. })) if scopes.iter().any(|scope| scope == SCOPE) => {
            checks.ok(NAME, scopes.join(" "));
        }
        (_, Ok(AppContext { scopes: Some(scopes), .. })) => {
            let list = if scopes.is_empty() { "none".to_owned() } else { scopes.join(" ") };
            let remedy =
                "ask the clinic to grant read:notes, which images most likely need; --org ORG tests it";
            checks.warning(NAME, format!("{SCOPE} is not among them: {list}"), remedy);
        }
        (_, Ok(_)) => {
            checks.warning(NAME, "not known: the API does not list them", "--org ORG tests one clinic");
        }
        (_, Err(_)) => checks.warning(NAME, "not known: the API gave no answer to it", "see api and key"),
    }
}

fn clock(date: Option<SystemTime>, now: SystemTime, checks: &mut Checks) {
    const NAME: &str = "clock";
    const SET: &str = "set the machine's clock (NTP): certificates and --until depend on it";
    let Some(date) = date else {
        return checks.warning(NAME, "not known: the API sent no time", "see api");
    };
    let (off, word) = match now.duration_since(date) {
        Ok(off) => (off, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let found = format!("{} s {word} the API's", off.as_secs());
    if off <= CLOCK_DRIFT_MAX {
        checks.ok(NAME, found);
    } else if off <= CLOCK_DRIFT_FATAL {
        checks.warning(NAME, found, SET);
    } else {
        checks.problem(NAME, found, SET);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use crate::remote::rate_headers::RateHeaders;

    fn outcome(check: impl FnOnce(&mut Checks)) -> (Outcome, String) {
        let mut checks = Checks::default();
        check(&mut checks);
        assert_eq!(checks.0.len(), 1);
        let check = checks.0.remove(0);
        assert_eq!(check.remedy.is_empty(), check.result == Outcome::Ok, "{check:?}");
        (check.result, check.found)
    }

    #[test]
    fn a_clock_that_is_off_is_a_warning_and_by_days_a_problem() {
        let now = SystemTime::now();
        let off = |seconds| {
            let date = now - Duration::from_secs(seconds);
            outcome(|checks| clock(Some(date), now, checks)).0
        };
        assert_eq!(
            [off(0), off(119), off(600), off(100_000)],
            [Outcome::Ok, Outcome::Ok, Outcome::Warning, Outcome::Problem]
        );
        let ahead = outcome(|checks| clock(Some(now + Duration::from_mins(10)), now, checks));
        assert_eq!(ahead, (Outcome::Warning, "600 s behind the API's".to_owned()));
    }

    #[test]
    fn a_403_names_what_is_missing_whichever_request_met_it() {
        let said = || ErrorResponse {
            status: 403,
            code: "forbidden".to_owned(),
            message: "Insufficient scope. Required: read:notes".to_owned(),
            ..ErrorResponse::default()
        };
        let fine = || WhoAmI {
            date: None,
            rate_headers: RateHeaders::default(),
            context: Ok(AppContext::default()),
        };
        let refused = WhoAmI {
            date: None,
            rate_headers: RateHeaders::default(),
            context: Err(Failure::Forbidden(said())),
        };
        for (asked, tried) in [
            (&refused, None),
            (&refused, Some(&Failure::Forbidden(said()))),
            (&fine(), Some(&Failure::Forbidden(said()))),
        ] {
            let (result, found) = outcome(|checks| scopes(asked, tried, checks));
            assert_eq!(result, Outcome::Problem);
            assert!(found.contains("Required: read:notes"), "{found}");
        }
        let missing = Failure::NotFound(ErrorResponse::default());
        assert_eq!(outcome(|checks| scopes(&fine(), Some(&missing), checks)).0, Outcome::Ok);
        assert_eq!(outcome(|checks| scopes(&fine(), None, checks)).0, Outcome::Warning);
    }

    #[test]
    fn an_id_with_its_prefix_is_the_same_id() {
        assert!(same_id("org_7e2c8cfeb7a94deb986de7012589e72b", "7e2c8cfe-b7a9-4deb-986d-e7012589e72b"));
        assert!(!same_id("org_1", "org_2"));
    }
}
