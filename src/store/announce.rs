//! Final names, recorded in the ledger before they are used.
//!
//! One transaction for a batch. If the run is killed before it has recorded the images, the next one finds their files by
//! these names ([`super::unrecorded`]), also if its manifest does not name the images.

use super::Folder;
use super::publish::{Delivery, record};
use crate::disk::presence;
use crate::error::Failure;
use crate::ledger::{Ledger, Write};

/// Records the names that the batch gives to files and takes from earlier ones, and withdraws the earlier deliveries
/// whose names are about to get other bytes: the ledger must not vouch for those any more. Waits until that is durable.
pub(super) fn announce<'a>(
    deliveries: impl Iterator<Item = &'a Delivery>,
    ledger: &Ledger,
) -> Result<(), Failure> {
    let writes: Vec<_> = deliveries.flat_map(names).collect();
    if writes.is_empty() { Ok(()) } else { record(writes, ledger) }
}

fn names(delivery: &Delivery) -> impl Iterator<Item = Write> {
    let delivered = &delivery.record;
    let intended = Write::Intended(delivered.path.clone(), delivered.sha256);
    let earlier = delivered.item.replaces.as_ref().map(|earlier| {
        if earlier.path == delivered.path {
            Write::Replacing(delivered.item.seq)
        } else {
            // its file is removed after the new one is delivered
            Write::Intended(earlier.path.clone(), earlier.sha256)
        }
    });
    std::iter::once(intended).chain(earlier)
}

/// Records that the file of an earlier delivery under another name is gone. Best effort: a name that stays recorded is
/// cleared by the next run.
pub(super) fn settle_earlier(delivery: &Delivery, folder: &Folder, ledger: &Ledger) {
    let Some(earlier) = &delivery.record.item.replaces else { return };
    let is_gone = || matches!(presence::exists(&folder.root.join(&earlier.path)), Ok(false));
    if earlier.path != delivery.record.path && is_gone() {
        let _ = ledger.post(Write::Settled(earlier.path.clone()));
    }
}
