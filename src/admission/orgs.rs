//! The third gate: a circuit breaker per organization, against 403.
//!
//! An organization that has not accepted the key yet is asked for at most five rows at a time. Five refusals in
//! succession close it for the rest of the run: a refused organization costs five requests, however many rows it has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::Admission;
use super::watched::lock;
use crate::error::ItemError;

/// Refusals (403) in succession after which an organization is not asked for any more.
const REFUSALS_MAX: u32 = 5;
/// Organizations remembered; beyond that, those with nothing to remember are forgotten.
const REMEMBERED: usize = 10_000;

/// What is known of each organization.
#[derive(Debug)]
pub(super) struct Orgs {
    known: HashMap<i64, Org>,
    /// With more entries than that, those with nothing to remember are forgotten.
    prune_above: usize,
}

#[derive(Debug, Default)]
struct Org {
    in_flight: u32,
    /// Refusals since the API last accepted it.
    refused: u32,
    accepted: bool,
    /// The refusal that closed it.
    closed_by: Option<ItemError>,
}

impl Default for Orgs {
    fn default() -> Self {
        Self { known: HashMap::new(), prune_above: REMEMBERED }
    }
}

impl Orgs {
    fn entry(&mut self, org: i64) -> &mut Org {
        if self.known.len() > self.prune_above {
            self.known.retain(|_, org| org.in_flight > 0 || org.refused > 0);
            // each pruning visits every entry: if few could go, the next one waits until the map has doubled
            self.prune_above = REMEMBERED.max(2 * self.known.len());
        }
        self.known.entry(org).or_default()
    }

    fn answer(&self, org: i64) -> OrgAnswer {
        match self.known.get(&org) {
            Some(Org { closed_by: Some(refusal), .. }) => OrgAnswer::Refuses(refusal.clone()),
            Some(org) if !org.accepted && org.in_flight + org.refused >= REFUSALS_MAX => OrgAnswer::Waits,
            _ => OrgAnswer::Admits,
        }
    }

    fn try_enter(&mut self, org: i64) -> bool {
        let admits = matches!(self.answer(org), OrgAnswer::Admits);
        if admits {
            self.entry(org).in_flight += 1;
        }
        admits
    }

    fn accept(&mut self, org: i64) {
        let org = self.entry(org);
        org.accepted = true;
        org.refused = 0;
    }

    /// True if this refusal closes the organization.
    fn refuse(&mut self, org: i64, refusal: &ItemError) -> bool {
        let org = self.entry(org);
        org.refused += 1;
        let closes = org.refused >= REFUSALS_MAX && org.closed_by.is_none();
        if closes {
            org.closed_by = Some(refusal.clone());
        }
        closes
    }

    fn leave(&mut self, org: i64) {
        if let Some(org) = self.known.get_mut(&org) {
            org.in_flight = org.in_flight.saturating_sub(1);
        }
    }
}

impl Admission {
    /// Whether a request for a row of `org` may be sent.
    pub(crate) fn org_answer(&self, org: i64) -> OrgAnswer {
        lock(&self.orgs).answer(org)
    }

    /// The right to send a request for a row of `org`, if one may be sent now.
    pub(crate) fn try_enter_org(&self, org: i64) -> Option<OrgPermit> {
        lock(&self.orgs).try_enter(org).then(|| OrgPermit { orgs: Arc::clone(&self.orgs), org })
    }

    /// The refusal that closed the organization, if it is closed.
    pub(crate) fn org_refusal(&self, org: i64) -> Option<ItemError> {
        lock(&self.orgs).known.get(&org)?.closed_by.clone()
    }

    /// The API answered a request for the organization.
    pub(crate) fn org_accepted(&self, org: i64) {
        lock(&self.orgs).accept(org);
    }

    /// The API refused the organization. True if this refusal closes it for the rest of the run.
    pub(crate) fn org_refused(&self, org: i64, refusal: &ItemError) -> bool {
        lock(&self.orgs).refuse(org, refusal)
    }
}

/// One request in flight for an organization; dropped, another one may be sent.
#[derive(Debug)]
pub(crate) struct OrgPermit {
    orgs: Arc<Mutex<Orgs>>,
    org: i64,
}

impl Drop for OrgPermit {
    fn drop(&mut self) {
        lock(&self.orgs).leave(self.org);
    }
}

/// Whether a request for an organization may be sent.
#[derive(Debug)]
pub(crate) enum OrgAnswer {
    Admits,
    /// Not before those in flight have their answers.
    Waits,
    /// The API refused it five times in succession, last with these words.
    Refuses(ItemError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_organizations_with_refusals_are_not_pruned_again_and_again() {
        let mut orgs = Orgs::default();
        let mut prunings = 0;
        for org in 0..100_000 {
            let before = orgs.prune_above;
            orgs.entry(org).refused = 1;
            prunings += u32::from(orgs.prune_above != before);
        }
        assert!(
            prunings <= 4 && orgs.known.len() <= orgs.prune_above,
            "{prunings} prunings, the next one at {}",
            orgs.prune_above
        );
        for org in orgs.known.values_mut() {
            org.refused = 0;
        }
        for org in 100_000..200_000 {
            orgs.entry(org);
        }
        assert!(orgs.known.len() <= 100_000, "those with nothing to remember are forgotten");
    }
}
