//! The address pools, and who has what.

use ferrolb_core::report::PoolStatus;
use serde::Serialize;

use crate::picture::Picture;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PoolsAnswer {
    pub(crate) pools: Vec<Pool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pool {
    #[serde(flatten)]
    pub(crate) status: PoolStatus,
    pub(crate) holders: Vec<Holder>,
}

/// An address of the pool that is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Holder {
    pub(crate) address: String,
    /// `namespace/name`
    pub(crate) services: Vec<String>,
    /// The nodes that announce it.
    pub(crate) nodes: Vec<String>,
}

impl PoolsAnswer {
    pub(crate) fn of(picture: &Picture) -> Self {
        let pools = picture.pools().iter().map(|status| Pool {
            holders: picture
                .addresses
                .iter()
                .filter(|address| address.pool.as_ref() == Some(&status.name))
                .map(|address| Holder {
                    address: address.address.to_string(),
                    services: address.services.clone(),
                    nodes: address.nodes.clone(),
                })
                .collect(),
            status: status.clone(),
        });
        Self {
            pools: pools.collect(),
        }
    }
}
