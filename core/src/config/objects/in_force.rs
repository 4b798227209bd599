//! What is in force of each object.

use std::collections::BTreeMap;

use super::read::Community;
use super::{Kind, ObjectRef};
use crate::config::{BfdProfile, BgpAdvertisement, Config, Layer2Advertisement, Peer, Pool};

/// By kind and name. The ranges of no two pools overlap.
#[derive(Debug, Clone, Default)]
pub(super) struct InForce(BTreeMap<(Kind, String), Entry>);

#[derive(Debug, Clone)]
struct Entry {
    /// `None` after a restart: an object of that name is taken for the same one.
    uid: Option<String>,
    item: Item,
}

/// What an object says, with all that others had to confirm.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Pool(Pool),
    Layer2(Layer2Advertisement),
    Bgp(BgpAdvertisement),
    Peer(Box<Peer>),
    Profile(BfdProfile),
    Communities(Vec<(String, Community)>),
}

impl InForce {
    /// After a restart.
    pub(super) fn of(config: &Config) -> Self {
        let pools = config.pools.iter().cloned().map(Item::Pool);
        let layer2 = config.layer2.iter().cloned().map(Item::Layer2);
        let bgp = config.bgp.iter().cloned().map(Item::Bgp);
        let peers = config.peers.iter().cloned();
        let peers = peers.map(|peer| Item::Peer(Box::new(peer)));
        let profiles = config.bfd_profiles.iter().cloned().map(Item::Profile);
        let items = pools.chain(layer2).chain(bgp).chain(peers).chain(profiles);
        let entries = items.filter_map(|item| {
            let key = (item.kind(), item.name()?.to_owned());
            Some((key, Entry { uid: None, item }))
        });
        Self(entries.collect())
    }

    /// What is in force of this very object: one that was deleted and created again is another one.
    pub(super) fn of_object(&self, object: &ObjectRef) -> Option<&Item> {
        let entry = self.0.get(&(object.kind, object.name.clone()))?;
        let is_same = entry.uid.as_ref().is_none_or(|uid| *uid == object.uid);
        is_same.then_some(&entry.item)
    }

    pub(super) fn set(&mut self, object: &ObjectRef, item: Item) {
        let entry = Entry {
            uid: Some(object.uid.clone()),
            item,
        };
        self.0.insert((object.kind, object.name.clone()), entry);
    }

    /// The pools, with all their labels.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.0.values().filter_map(|entry| match &entry.item {
            Item::Pool(pool) => Some(pool),
            _ => None,
        })
    }

    /// All of it, in the order of the names.
    pub(super) fn config(&self) -> Config {
        let mut config = Config::new();
        for entry in self.0.values() {
            match &entry.item {
                Item::Pool(one) => config.pools.push(one.clone()),
                Item::Layer2(one) => config.layer2.push(one.clone()),
                Item::Bgp(one) => config.bgp.push(one.clone()),
                Item::Peer(one) => config.peers.push(Peer::clone(one)),
                Item::Profile(one) => config.bfd_profiles.push(one.clone()),
                Item::Communities(_) => {}
            }
        }
        let names = config.pool_label_names();
        for pool in &mut config.pools {
            pool.labels = pool.labels.only(&names);
        }
        config
    }
}

impl Item {
    const fn kind(&self) -> Kind {
        match self {
            Self::Pool(_) => Kind::IpAddressPool,
            Self::Layer2(_) => Kind::L2Advertisement,
            Self::Bgp(_) => Kind::BgpAdvertisement,
            Self::Peer(_) => Kind::BgpPeer,
            Self::Profile(_) => Kind::BfdProfile,
            Self::Communities(_) => Kind::Community,
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Pool(one) => Some(&one.name),
            Self::Layer2(one) => Some(&one.name),
            Self::Bgp(one) => Some(&one.name),
            Self::Peer(one) => Some(&one.name),
            Self::Profile(one) => Some(&one.name),
            Self::Communities(_) => None,
        }
    }
}
