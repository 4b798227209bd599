//! One family's table in the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::address::Family;
use ferrolb_core::keep::Entry;
use ferrolb_core::keep::words::{Unable, Way};
use ferrolb_core::wire::MacAddr;
use rustix::io::Errno;

use crate::netlink::{Attributes, Batch, Kernel, Message, Refused};
use crate::rules::{self, MOVED, PASS, PASSED, PEERS, PRE, Rule, TABLE};

/// Elements in one message, and so in one batch: well below the 64 KiB of an attribute and the 208 KiB of
/// a socket's buffer.
const CHUNK: usize = 256;

/// `NFT_MSG_…`
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENTS: u16 = 12;
const GET_ELEMENTS: u16 = 13;
const DELETE_ELEMENTS: u16 = 14;

/// `NLM_F_CREATE`, with `NLM_F_EXCL`, with `NLM_F_APPEND`
const CREATE: u16 = 0x400;
const CREATE_ONE: u16 = 0x600;
const APPEND: u16 = 0xc00;

/// `NFT_TABLE_F_OWNER` (Linux 5.12): the kernel removes the table with the socket that made it, nobody else
/// can change it, and `nft flush ruleset` leaves it alone.
const OWNER: u32 = 2;
/// `NFT_SET_…`
const MAP: u32 = 0x8;
const TIMEOUT: u32 = 0x10;
const WITH_EXPRESSION: u32 = 0x100;

/// nft's own numbers of types: they make `nft list` readable.
const ETHER_ADDR: u32 = 9;

const fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// nft's type of an address, and its length.
const fn address_type(family: Family) -> (u32, u32) {
    match family {
        Family::V4 => (7, 4),
        Family::V6 => (8, 16),
    }
}

/// How packets may be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// By `dup`, or else by TEE.
    Any,
    /// By `dup` alone.
    Dup,
    /// By TEE alone.
    Tee,
}

/// Both families' tables. They end with this value, however that ends.
#[derive(Debug)]
pub struct Tables {
    kernel: Kernel,
    way: Way,
    of: BTreeMap<Family, Table>,
}

/// What is in one family's table.
#[derive(Debug, Default)]
struct Table {
    peers: BTreeSet<[u8; 6]>,
    /// With TEE: old owners that have a set and a rule.
    targets: BTreeSet<IpAddr>,
    /// Where each address was last said to be passed on to: whether there is an element to replace.
    vias: BTreeMap<IpAddr, IpAddr>,
}

impl Tables {
    /// Makes both tables, empty. A kernel without one of the families lacks its table.
    ///
    /// # Errors
    /// Why this kernel cannot pass packets on; or what else went wrong, such as a table of another keeper.
    pub fn make(choice: Choice) -> Result<Self, NoTables> {
        let kernel = Kernel::open().map_err(|_| NoTables::Unable(Unable::NoTable))?;
        let ways: &[Way] = match choice {
            Choice::Any => &[Way::Dup, Way::Tee],
            Choice::Dup => &[Way::Dup],
            Choice::Tee => &[Way::Tee],
        };
        let mut tables = Self {
            kernel,
            way: Way::Dup,
            of: BTreeMap::new(),
        };
        let mut why = NoTables::Unable(Unable::NoTable);
        for &way in ways {
            tables.way = way;
            for family in [Family::V4, Family::V6] {
                match tables.kernel.commit(&skeleton(family, way)) {
                    Ok(()) => drop(tables.of.insert(family, Table::default())),
                    // Without IPv6 there is nothing to say of IPv6.
                    Err(_) if family == Family::V6 && !tables.of.is_empty() => {}
                    Err(refused) => why = NoTables::from(refused),
                }
            }
            if !tables.of.is_empty() {
                return Ok(tables);
            }
        }
        Err(why)
    }

    /// How packets are passed on.
    #[must_use]
    pub const fn way(&self) -> Way {
        self.way
    }

    /// Whether addresses of this family can be kept.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.of.contains_key(&family)
    }

    /// Packets from these stations are never passed on.
    ///
    /// # Errors
    /// The kernel refuses; then nothing changed, or some of it.
    pub fn set_peers(&mut self, peers: impl Iterator<Item = MacAddr>) -> io::Result<()> {
        let peers: BTreeSet<[u8; 6]> = peers.map(|mac| mac.octets()).collect();
        let Self { kernel, of, .. } = self;
        for (&family, table) in of {
            // First the new ones: at no time is a node's packet taken for a client's.
            for (kind, flags, macs) in [
                (NEW_ELEMENTS, CREATE, &peers - &table.peers),
                (DELETE_ELEMENTS, 0, &table.peers - &peers),
            ] {
                let macs: Vec<_> = macs.into_iter().collect();
                for chunk in macs.chunks(CHUNK) {
                    let elements = chunk.iter().map(|mac| element(mac, None, None));
                    let message = elements_message(family, PEERS, kind, flags, elements);
                    kernel
                        .commit(&Batch(vec![message]))
                        .map_err(|refused| refused.error)?;
                }
            }
            table.peers.clone_from(&peers);
        }
        Ok(())
    }

    /// Passes on from now on, for each entry's time. The caller has made sure that it may be.
    ///
    /// # Errors
    /// The kernel refuses this entry; then it is not in force.
    pub fn keep(&mut self, entries: &[Entry]) -> BTreeMap<IpAddr, io::Error> {
        let mut refused = BTreeMap::new();
        for family in [Family::V4, Family::V6] {
            let of_family = entries
                .iter()
                .filter(|entry| Family::of(entry.vip) == family);
            let of_family: Vec<&Entry> = of_family.collect();
            for chunk in of_family.chunks(CHUNK) {
                if self.keep_all(family, chunk).is_ok() {
                    continue;
                }
                // One of them is the cause: each by itself.
                for entry in chunk {
                    if let Err(error) = self.keep_all(family, &[entry]) {
                        refused.insert(entry.vip, error);
                    }
                }
            }
        }
        refused
    }

    fn keep_all(&mut self, family: Family, entries: &[&Entry]) -> io::Result<()> {
        let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
        let table = self.of.get(&family).ok_or_else(unsupported)?;
        let known = entries.iter().filter_map(|entry| {
            let via = *table.vias.get(&entry.vip)?;
            Some((entry.vip, via))
        });
        let known: Vec<(IpAddr, IpAddr)> = known.collect();
        let new_targets: BTreeSet<IpAddr> = match self.way {
            Way::Dup => BTreeSet::new(),
            Way::Tee => {
                let vias = entries.iter().map(|entry| entry.via);
                vias.filter(|via| !table.targets.contains(via)).collect()
            }
        };
        let mut adding: Vec<Message> = Vec::new();
        for &via in &new_targets {
            adding.push(set(family, &tee_set(via), TIMEOUT | WITH_EXPRESSION));
            adding.push(rule(family, PASS, &rules::tee(&tee_set(via), via)));
        }
        // Few messages, each with many elements: the kernel answers each message, and a socket holds only
        // some hundred answers.
        let moved = entries
            .iter()
            .map(|entry| element(&octets(entry.vip), None, Some(entry.time)));
        adding.push(elements_message(family, MOVED, NEW_ELEMENTS, CREATE, moved));
        let mut passed: BTreeMap<String, Vec<Attributes>> = BTreeMap::new();
        for entry in entries {
            let (set, to) = self.place(entry.via);
            let one = element(&octets(entry.vip), to.as_deref(), Some(entry.time));
            passed.entry(set).or_default().push(one);
        }
        let passed = passed.into_iter();
        adding.extend(
            passed.map(|(set, elements)| {
                elements_message(family, &set, NEW_ELEMENTS, CREATE, elements)
            }),
        );
        // An element's time cannot be set anew on all kernels: out with it first. Where the kernel has
        // ended it by itself in the meantime there is nothing to delete.
        let mut messages = self.deleting(family, &known);
        messages.extend(adding.clone());
        match self.kernel.commit(&Batch(messages)) {
            Err(refused) if refused.is(Errno::NOENT) && !known.is_empty() => {
                for one in &known {
                    self.delete_one(family, *one)?;
                }
                self.kernel.commit(&Batch(adding))
            }
            done => done,
        }
        .map_err(|refused| refused.error)?;
        if let Some(table) = self.of.get_mut(&family) {
            table.targets.extend(new_targets);
            table
                .vias
                .extend(entries.iter().map(|entry| (entry.vip, entry.via)));
        }
        Ok(())
    }

    /// Passes on no more. What has ended already is no error.
    ///
    /// # Errors
    /// The kernel refuses: then the entry ends with its time.
    pub fn drop_all(&mut self, vips: &[IpAddr]) -> io::Result<()> {
        for family in [Family::V4, Family::V6] {
            let Some(table) = self.of.get_mut(&family) else {
                continue;
            };
            let of_family = vips.iter().filter(|vip| Family::of(**vip) == family);
            let known = of_family.filter_map(|vip| Some((*vip, table.vias.remove(vip)?)));
            let known: Vec<(IpAddr, IpAddr)> = known.collect();
            for chunk in known.chunks(CHUNK) {
                let batch = Batch(self.deleting(family, chunk));
                match self.kernel.commit(&batch) {
                    Err(refused) if refused.is(Errno::NOENT) => {
                        for one in chunk {
                            self.delete_one(family, *one)?;
                        }
                    }
                    done => done.map_err(|refused| refused.error)?,
                }
            }
            self.forget_targets(family)?;
        }
        Ok(())
    }

    /// The time of these is over: the kernel has ended them by itself.
    pub fn forget(&mut self, vips: &[IpAddr]) {
        for vip in vips {
            if let Some(table) = self.of.get_mut(&Family::of(*vip)) {
                table.vias.remove(vip);
            }
        }
    }

    /// Packets passed on, of each entry.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn count(&mut self) -> io::Result<BTreeMap<IpAddr, u64>> {
        let mut counts = BTreeMap::new();
        let sets = self.of.iter().flat_map(|(&family, table)| {
            let maps = match self.way {
                Way::Dup => vec![PASSED.to_owned()],
                Way::Tee => table.targets.iter().copied().map(tee_set).collect(),
            };
            maps.into_iter().map(move |name| (family, name))
        });
        for (family, name) in sets.collect::<Vec<_>>() {
            let message = elements_message(family, &name, GET_ELEMENTS, 0, []);
            for element in self.kernel.elements(&message)? {
                counts.insert(element.key, element.packets);
            }
        }
        Ok(counts)
    }

    /// The set that makes packets go there, and the value of an element in it.
    fn place(&self, via: IpAddr) -> (String, Option<Vec<u8>>) {
        match self.way {
            Way::Dup => (PASSED.to_owned(), Some(octets(via))),
            Way::Tee => (tee_set(via), None),
        }
    }

    fn deleting(&self, family: Family, known: &[(IpAddr, IpAddr)]) -> Vec<Message> {
        let mut sets: BTreeMap<String, Vec<Attributes>> = BTreeMap::new();
        for &(vip, via) in known {
            let (set, _) = self.place(via);
            for set in [MOVED.to_owned(), set] {
                let one = element(&octets(vip), None, None);
                sets.entry(set).or_default().push(one);
            }
        }
        let sets = sets.into_iter();
        sets.map(|(set, elements)| elements_message(family, &set, DELETE_ELEMENTS, 0, elements))
            .collect()
    }

    /// Each of its two elements by itself: one may have ended, and the other not yet.
    fn delete_one(&mut self, family: Family, one: (IpAddr, IpAddr)) -> io::Result<()> {
        for message in self.deleting(family, &[one]) {
            match self.kernel.commit(&Batch(vec![message])) {
                Err(refused) if !refused.is(Errno::NOENT) => return Err(refused.error),
                _ => {}
            }
        }
        Ok(())
    }

    /// With TEE each old owner leaves a rule behind: none is needed once there is no entry.
    fn forget_targets(&mut self, family: Family) -> io::Result<()> {
        let Some(table) = self.of.get_mut(&family) else {
            return Ok(());
        };
        if !table.vias.is_empty() || table.targets.is_empty() {
            return Ok(());
        }
        let chain = Attributes::new().text(1, TABLE).text(2, PASS);
        let mut messages = vec![message(family, DELETE_RULE, 0, chain)];
        messages.extend(table.targets.iter().map(|via| {
            let set = Attributes::new().text(1, TABLE).text(2, &tee_set(*via));
            message(family, DELETE_SET, 0, set)
        }));
        self.kernel
            .commit(&Batch(messages))
            .map_err(|refused| refused.error)?;
        table.targets.clear();
        Ok(())
    }

    /// Removes both tables: for a keeper that finds out that it can pass nothing on.
    pub fn remove(mut self) {
        for &family in self.of.keys() {
            let table = Attributes::new().text(1, TABLE);
            // If the kernel refuses, the end of this value does it.
            let _ = self
                .kernel
                .commit(&Batch(vec![message(family, DELETE_TABLE, 0, table)]));
        }
    }
}

/// Why there are no tables.
#[derive(Debug)]
pub enum NoTables {
    /// This kernel cannot do it.
    Unable(Unable),
    /// There is one already: another keeper runs on this node.
    Taken,
}

impl From<Refused> for NoTables {
    fn from(refused: Refused) -> Self {
        // The first message makes the table, all others need what is in it.
        Self::Unable(match refused.message {
            _ if refused.is(Errno::PERM) => Unable::NoRight,
            _ if refused.is(Errno::EXIST) => return Self::Taken,
            0 => Unable::NoTable,
            _ => Unable::NoDuplicate,
        })
    }
}

/// Everything but elements: what an empty table is made of.
pub(crate) fn skeleton(family: Family, way: Way) -> Batch {
    let table = Attributes::new().text(1, TABLE).be32(2, OWNER);
    let mut messages = vec![
        message(family, NEW_TABLE, CREATE_ONE, table),
        set(family, MOVED, TIMEOUT),
        peers_set(family),
        message(
            family,
            NEW_CHAIN,
            CREATE,
            Attributes::new().text(1, TABLE).text(3, PASS),
        ),
    ];
    match way {
        Way::Dup => {
            messages.push(set(family, PASSED, TIMEOUT | MAP | WITH_EXPRESSION));
            messages.push(rule(family, PASS, &rules::duplicate(family)));
        }
        // A rule that is there for the batch alone: it fails where there is no TEE.
        Way::Tee => {
            let nobody = match family {
                Family::V4 => IpAddr::from([127, 0, 0, 1]),
                Family::V6 => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]),
            };
            messages.push(rule(family, PASS, &rules::tee(MOVED, nobody)));
            let chain = Attributes::new().text(1, TABLE).text(2, PASS);
            messages.push(message(family, DELETE_RULE, 0, chain));
        }
    }
    // NF_INET_PRE_ROUTING; a packet that no rule takes goes on.
    let hook = Attributes::new()
        .be32(1, 0)
        .be32(2, rules::PRIORITY.cast_unsigned());
    let chain = Attributes::new()
        .text(1, TABLE)
        .text(3, PRE)
        .nest(4, &hook)
        .be32(5, 1)
        .text(7, "filter");
    messages.push(message(family, NEW_CHAIN, CREATE, chain));
    let all = rules::guards(family)
        .into_iter()
        .chain(rules::matches(family));
    messages.extend(all.map(|one| rule(family, PRE, &one)));
    Batch(messages)
}

fn message(family: Family, kind: u16, flags: u16, attributes: Attributes) -> Message {
    Message {
        kind,
        flags,
        family: nfproto(family),
        attributes,
    }
}

/// `NFTA_RULE_…`: table, chain, expressions.
fn rule(family: Family, chain: &str, rule: &Rule) -> Message {
    let expressions = rule
        .iter()
        .fold(Attributes::new(), |list, one| list.nest(1, one));
    let attributes = Attributes::new()
        .text(1, TABLE)
        .text(2, chain)
        .nest(4, &expressions);
    message(family, NEW_RULE, APPEND, attributes)
}

/// `NFTA_SET_…`: table, name, flags, type and length of keys, those of values, number, expression.
fn set(family: Family, name: &str, flags: u32) -> Message {
    let (kind, length) = address_type(family);
    let mut attributes = Attributes::new()
        .text(1, TABLE)
        .text(2, name)
        .be32(3, flags)
        .be32(4, kind)
        .be32(5, length);
    if flags & MAP != 0 {
        attributes = attributes.be32(6, kind).be32(7, length);
    }
    // Any number does that is no other set's of the same batch.
    attributes = attributes.be32(10, number_of(name));
    if flags & WITH_EXPRESSION != 0 {
        attributes = attributes.nest(17, &rules::counter());
    }
    message(family, NEW_SET, CREATE, attributes)
}

fn peers_set(family: Family) -> Message {
    let attributes = Attributes::new()
        .text(1, TABLE)
        .text(2, PEERS)
        .be32(3, 0)
        .be32(4, ETHER_ADDR)
        .be32(5, 6)
        .be32(10, number_of(PEERS));
    message(family, NEW_SET, CREATE, attributes)
}

/// FNV-1a.
fn number_of(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn tee_set(via: IpAddr) -> String {
    format!("to-{via}")
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// `NFTA_SET_ELEM_…`: key, data, timeout in milliseconds.
fn element(key: &[u8], data: Option<&[u8]>, time: Option<Duration>) -> Attributes {
    let mut attributes = Attributes::new().nest(1, &rules::value(key));
    if let Some(data) = data {
        attributes = attributes.nest(2, &rules::value(data));
    }
    if let Some(time) = time {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        attributes = attributes.be64(4, millis);
    }
    attributes
}

/// `NFTA_SET_ELEM_LIST_…`: table, set, elements.
fn elements_message(
    family: Family,
    set: &str,
    kind: u16,
    flags: u16,
    elements: impl IntoIterator<Item = Attributes>,
) -> Message {
    let list = elements
        .into_iter()
        .fold(Attributes::new(), |list, one| list.nest(1, &one));
    let mut attributes = Attributes::new().text(1, TABLE).text(2, set);
    if !list.as_bytes().is_empty() {
        attributes = attributes.nest(3, &list);
    }
    message(family, kind, flags, attributes)
}
