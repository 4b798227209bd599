//! What the user wants to have explained.

use std::net::IpAddr;

use anyhow::bail;
use ferrolb_core::Reason;
use ferrolb_core::address::canonical;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Service(&'a str),
    Address(IpAddr),
    Node(&'a str),
    Pool(&'a str),
    Reason(Reason),
    /// A Service, if there is one; else whatever has that name.
    Bare(&'a str),
}

impl<'a> Target<'a> {
    pub(crate) fn of(text: &'a str) -> anyhow::Result<Self> {
        if let Some(address) = canonical(text) {
            return Ok(Self::Address(address));
        }
        // No Service has a name like that (RFC 1035 label).
        let reason = Reason::of(text).filter(|_| text.contains('_'));
        if let Some(reason) = reason {
            return Ok(Self::Reason(reason));
        }
        match text.split_once('/') {
            None => Ok(Self::Bare(text)),
            Some(("svc" | "service" | "services", name)) => Ok(Self::Service(name)),
            Some(("node" | "nodes" | "no", name)) => Ok(Self::Node(name)),
            Some(("pool" | "pools", name)) => Ok(Self::Pool(name)),
            Some(("reason", word)) => match Reason::of(word) {
                Some(reason) => Ok(Self::Reason(reason)),
                None => bail!("there is no reason {word}"),
            },
            Some((kind, _)) => bail!(
                "{kind}: possible are svc/NAME, node/NAME, pool/NAME, an address, and a reason"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_told_by_its_form() {
        let of = |text| Target::of(text).unwrap();
        assert_eq!(of("svc/web"), Target::Service("web"));
        assert_eq!(of("web"), Target::Bare("web"));
        assert_eq!(of("node/n1"), Target::Node("n1"));
        assert_eq!(of("pool/default"), Target::Pool("default"));
        assert_eq!(of("fd00::1"), Target::Address("fd00::1".parse().unwrap()));
        assert_eq!(of("pool_exhausted"), Target::Reason(Reason::PoolExhausted));
        // A Service may be called that.
        assert_eq!(of("isolated"), Target::Bare("isolated"));
        assert_eq!(of("reason/isolated"), Target::Reason(Reason::Isolated));
        let error = Target::of("pod/web").unwrap_err().to_string();
        assert!(error.starts_with("pod: possible are svc/NAME"), "{error}");
        assert!(Target::of("reason/nothing").is_err());
    }
}
