//! `GET /marketplace/me` (the vendor's "Get current app context"): whose key this is. Only `doctor` asks.

use std::time::SystemTime;

use reqwest::Url;
use reqwest::header::DATE;
use serde::Deserialize;
use serde_json::Value;

use super::redact::RequestSecrets;
use super::{Http, answer, api, header_text};
use crate::error::{Failure, Service};
use crate::item::OrgId;
use crate::remote::rate_headers::RateHeaders;

/// What the API knows about the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppContext {
    /// The organization that the API answers for, cleaned.
    pub(crate) organization: Option<String>,
    /// What the key may do, cleaned; `None` if the answer does not say.
    pub(crate) scopes: Option<Vec<String>>,
}

/// The outcome of the request.
#[derive(Debug)]
pub(crate) struct WhoAmI {
    /// The time of the API's clock, if the answer had one.
    pub(crate) date: Option<SystemTime>,
    /// The rate-limit headers of the answer; empty if there was none.
    pub(crate) rate_headers: RateHeaders,
    /// The answer, or why there is none.
    pub(crate) context: Result<AppContext, Failure>,
}

#[derive(Deserialize)]
struct Data {
    app: Option<App>,
    organization: Option<Organization>,
    scopes: Option<Vec<String>>,
}

/// An older page of the vendor's documentation has the scopes here.
#[derive(Deserialize)]
struct App {
    scopes: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Organization {
    id: Option<String>,
}

impl Http {
    /// Asks the API whose key this is. One request; without a key if none is set.
    pub(crate) async fn whoami(&self, org: Option<&OrgId>) -> WhoAmI {
        let mut whoami =
            WhoAmI { date: None, rate_headers: RateHeaders::default(), context: Ok(AppContext::default()) };
        let request = self.ask_context(org, &mut whoami.date, &mut whoami.rate_headers);
        let asked = tokio::time::timeout(crate::options::API_TIMEOUT, request).await;
        whoami.context = asked.unwrap_or_else(|_| Err(api::timed_out(self)));
        whoami
    }

    async fn ask_context(
        &self,
        org: Option<&OrgId>,
        date: &mut Option<SystemTime>,
        rate_headers: &mut RateHeaders,
    ) -> Result<AppContext, Failure> {
        let host = &*self.describe_host(&self.base);
        let address = format!("{}/marketplace/me", self.base.as_str().trim_end_matches('/'));
        let url = Url::parse(&address).map_err(|_| api::bad_request("the API's address is not a URL"))?;
        let (_, key) = self.key();
        let request = self.api.get(url).headers(api::request_headers(&key, org)?);
        let mut response = self.send(request, Service::Api, &self.base).await?;
        *date = httpdate::parse_http_date(&header_text(response.headers(), DATE.as_str())).ok();
        *rate_headers = api::read_rate_headers(&response);
        let body = self
            .read_capped(&mut response, answer::BODY_MAX)
            .await
            .map_err(|error| self.read_failure(error, Service::Api, host))?;
        let secrets = RequestSecrets::key_only(&key);
        let data = answer::read(response.status(), response.headers(), &body, &secrets, host)?;
        read_context(data, &secrets).ok_or_else(|| Failure::ApiMalformed("no app context in it".to_owned()))
    }
}

fn read_context(data: Value, secrets: &RequestSecrets<'_>) -> Option<AppContext> {
    let data: Data = serde_json::from_value(data).ok()?;
    let scopes = data.scopes.or_else(|| data.app.and_then(|app| app.scopes));
    Some(AppContext {
        organization: data.organization.and_then(|organization| organization.id).map(|id| secrets.clean(&id)),
        scopes: scopes.map(|scopes| scopes.iter().map(|scope| secrets.clean(scope)).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_found_in_their_new_and_their_old_place() {
        let key = secrecy::SecretString::from("c4narykey");
        let secrets = RequestSecrets::key_only(&key);
        let read = |data: &str| read_context(serde_json::from_str(data).expect("JSON"), &secrets);
        let new = r#"{"app":{"id":"a"},"organization":{"id":"o\u001bc4narykey"},"scopes":["read:notes"]}"#;
        let old = r#"{"app":{"scopes":["read:notes"]}}"#;
        let scopes = Some(vec!["read:notes".to_owned()]);
        let organization = Some("o\\u{1b}[key]".to_owned());
        assert_eq!(read(new), Some(AppContext { organization, scopes: scopes.clone() }));
        assert_eq!(read(old), Some(AppContext { organization: None, scopes }));
        for other in ["[1]", "7", "\"text\"", "null"] {
            assert_eq!(read(other), None);
        }
    }
}
