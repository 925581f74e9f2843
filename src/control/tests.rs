//! Whether a wait may be waited, and what is remembered of organizations.

use super::*;

#[test]
fn many_organizations_with_refusals_are_not_looked_through_again_and_again() {
    let mut orgs = Orgs { known: HashMap::new(), most: REMEMBERED };
    let mut looks = 0;
    for org in 0..100_000 {
        let most = orgs.most;
        orgs.of(org).refused = 1;
        looks += u32::from(orgs.most != most);
    }
    assert!(looks <= 4 && orgs.known.len() <= orgs.most, "{looks} looks, the next one at {}", orgs.most);
    for org in orgs.known.values_mut() {
        org.refused = 0;
    }
    for org in 100_000..200_000 {
        orgs.of(org);
    }
    assert!(orgs.known.len() <= 100_000, "those with nothing to remember are forgotten");
}
