//! The kinds of `MetalLB`'s that configure.

use std::fmt;

/// A kind of group `metallb.io` that configures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Addresses, and who gets them.
    IpAddressPool,
    /// How addresses are announced by ARP and neighbour discovery.
    L2Advertisement,
    /// How they are announced to BGP routers.
    BgpAdvertisement,
    /// A BGP router.
    BgpPeer,
    /// How to notice that a router is gone.
    BfdProfile,
    /// Names for BGP communities.
    Community,
}

impl Kind {
    /// Each of them once.
    pub const ALL: [Self; 6] = [
        Self::IpAddressPool,
        Self::L2Advertisement,
        Self::BgpAdvertisement,
        Self::BgpPeer,
        Self::BfdProfile,
        Self::Community,
    ];
    /// `apiVersion` is this, a slash, and one of [`Self::versions`].
    pub const GROUP: &str = "metallb.io";

    /// The kind of that name, as in `kind:`.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// `kind:`
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IpAddressPool => "IPAddressPool",
            Self::L2Advertisement => "L2Advertisement",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::BgpPeer => "BGPPeer",
            Self::BfdProfile => "BFDProfile",
            Self::Community => "Community",
        }
    }

    /// The name in paths of the API.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::IpAddressPool => "ipaddresspools",
            Self::L2Advertisement => "l2advertisements",
            Self::BgpAdvertisement => "bgpadvertisements",
            Self::BgpPeer => "bgppeers",
            Self::BfdProfile => "bfdprofiles",
            Self::Community => "communities",
        }
    }

    /// The versions that are read, the one to ask the API server for first.
    #[must_use]
    pub const fn versions(self) -> &'static [&'static str] {
        match self {
            Self::BgpPeer => &["v1beta2", "v1beta1"],
            _ => &["v1beta1"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
