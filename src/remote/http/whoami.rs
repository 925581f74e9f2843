//! `GET /marketplace/me` (the vendor's "Get current app context"): who the key belongs to. Only `doctor` asks.

use std::time::SystemTime;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, DATE, HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{Http, api, capped, text, transport_error};
use crate::error::{ErrorResponse, Failure, Service};
use crate::item::OrgId;
use crate::options::API_TIMEOUT;
use crate::remote::rate_headers::RateHeaders;

/// An answer holds a few ids and names.
const CAP: usize = 64 * 1024;

/// Whom the API takes us for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The organization that it answers for, cleaned.
    pub organization: Option<String>,
    /// What the key may do, cleaned; `None` where the answer does not say.
    pub scopes: Option<Vec<String>>,
}

/// The API's answer, or why there is none.
#[derive(Debug)]
pub struct Asked {
    /// The time of the API's clock, where it told it.
    pub date: Option<SystemTime>,
    /// What its headers told of the allowance.
    pub hints: RateHeaders,
    /// What it said.
    pub context: Result<Context, Failure>,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    app: Option<App>,
    organization: Option<Organization>,
    scopes: Option<Vec<String>>,
}

/// An old page of the vendor's has the scopes here.
#[derive(Deserialize)]
struct App {
    scopes: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Organization {
    id: Option<String>,
}

impl Http {
    /// Asks the API who the key belongs to. One request, without a key where there is none.
    pub async fn context(&self, org: Option<&OrgId>) -> Asked {
        let (mut date, mut hints) = (None, RateHeaders::default());
        let whole = tokio::time::timeout(API_TIMEOUT, self.ask(org, &mut date, &mut hints)).await;
        let context = whole.unwrap_or_else(|_| {
            let host = self.place(&self.base);
            let seconds = API_TIMEOUT.as_secs();
            let what = format!("{} at {host}: no whole answer within {seconds} s", Service::Api);
            Err(Failure::Timeout { service: Service::Api, what })
        });
        Asked { date, hints, context }
    }

    async fn ask(
        &self,
        org: Option<&OrgId>,
        date: &mut Option<SystemTime>,
        hints: &mut RateHeaders,
    ) -> Result<Context, Failure> {
        let host = &*self.place(&self.base);
        let wrong = |error| transport_error::failure(error, Service::Api, host);
        let refused = |message: &str| {
            Failure::BadRequest(ErrorResponse { message: message.to_owned(), ..ErrorResponse::default() })
        };
        let address = format!("{}/marketplace/me", self.base.as_str().trim_end_matches('/'));
        let url = Url::parse(&address).map_err(|_| refused("the address is none"))?;
        let headers =
            self.headers(org).ok_or_else(|| refused("the organization cannot stand in a header"))?;
        let mut response = self.api.get(url).headers(headers).send().await.map_err(wrong)?;
        *date = httpdate::parse_http_date(&text(response.headers(), DATE.as_str())).ok();
        *hints = api::read_hints(&response);
        let (body, whole) = capped(&mut response, CAP).await.map_err(wrong)?;
        let (_, key) = self.key();
        let private = api::Private { key: &key, note: "", image: "" };
        if response.status() != StatusCode::OK {
            let said = api::said(response.status(), response.headers(), &body, &private);
            return Err(api::refusal(response.status().as_u16(), said));
        }
        if !whole {
            return Err(Failure::ApiMalformed(format!("more than {CAP} bytes")));
        }
        let kind = private.clean(&text(response.headers(), "content-type"));
        read(&body, &private).ok_or_else(|| Failure::ApiMalformed(format!("no app context, but {kind:?}")))
    }

    fn headers(&self, org: Option<&OrgId>) -> Option<HeaderMap> {
        let (_, key) = self.key();
        let mut headers = HeaderMap::new();
        if !key.expose_secret().is_empty() {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).ok()?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        if let Some(org) = org {
            headers.insert("x-organization-id", HeaderValue::from_str(org.as_str()).ok()?);
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Some(headers)
    }
}

fn read(body: &[u8], private: &api::Private<'_>) -> Option<Context> {
    let data = serde_json::from_slice::<Answer>(body).ok()?.data?;
    let scopes = data.scopes.or_else(|| data.app.and_then(|app| app.scopes));
    Some(Context {
        organization: data.organization.and_then(|organization| organization.id).map(|id| private.clean(&id)),
        scopes: scopes.map(|scopes| scopes.iter().map(|scope| private.clean(scope)).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_found_in_their_new_and_their_old_place() {
        let key = secrecy::SecretString::from("c4narykey");
        let private = api::Private { key: &key, note: "", image: "" };
        let read = |body: &[u8]| super::read(body, &private);
        let new = br#"{"code":"success","data":{"app":{"id":"a"},"organization":{"id":"o\u001bc4narykey"},"scopes":["read:notes"]}}"#;
        let old = br#"{"data":{"app":{"scopes":["read:notes"]}}}"#;
        let scopes = Some(vec!["read:notes".to_owned()]);
        let organization = Some("o\\u{1b}[key]".to_owned());
        assert_eq!(read(new), Some(Context { organization, scopes: scopes.clone() }));
        assert_eq!(read(old), Some(Context { organization: None, scopes }));
        for other in [&b"<html>"[..], b"[]", b"{}", b"{\"data\":7}"] {
            assert_eq!(read(other), None);
        }
    }
}
