use std::collections::BTreeSet;
use std::time::Duration;

use ferrolb_core::compiled::{self, Compiled};
use ferrolb_core::config::objects::{ObjectView, Spec};
use ferrolb_core::config::parse;
use ferrolb_core::labels::Labels;
use ferrolb_core::names::event;
use ferrolb_core::source::Memory;
use serde_json::{Value, json};

use super::super::tests::{service, told, updates, written};
use super::handover::WRITE_AGAIN;
use super::*;
use crate::compiled::{CompiledWrite, Written};
use crate::index::Index;
use crate::notice::Notice;

const SOURCE: &str = "metallb-system/config";
const NAMESPACE: &str = "metallb-system";
const OLD: &str =
    "address-pools: [{ name: old, protocol: layer2, addresses: [10.0.0.1-10.0.0.2] }]";
const BROKEN: &str = "address-pools: [";
const UID: &str = "0a1b";

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn text(version: &str, text: &str) -> ConfigMapView {
    ConfigMapView {
        uid: "map".to_owned(),
        resource_version: version.to_owned(),
        id: format!("map/{text}"),
        outcome: parse(text),
        warnings: None,
    }
}

/// The compiled object as the chart makes it.
fn empty() -> CompiledView {
    CompiledView {
        uid: UID.to_owned(),
        resource_version: "1".to_owned(),
        data: BTreeMap::new(),
    }
}

/// The same, as a controller has left it.
fn left_by(source: Source, config: &str) -> CompiledView {
    let memory = Memory {
        source,
        ignored: Some(text("1", OLD).id).filter(|_| source == Source::Objects),
        orphaned: false,
    };
    let config = parse(config).in_force().expect("a configuration");
    let data = compiled::write(&Compiled { memory, config }, UID).unwrap();
    CompiledView {
        resource_version: "7".to_owned(),
        data: data
            .into_iter()
            .filter_map(|(key, it)| Some((key, it?)))
            .collect(),
        ..empty()
    }
}

fn object(kind: Kind, name: &str, generation: i64, spec: Value) -> ObjectView {
    ObjectView {
        kind,
        api_version: "metallb.io/v1beta1".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        resource_version: generation.to_string(),
        generation,
        created: 0,
        labels: Labels::default(),
        annotations: BTreeMap::new(),
        spec: Spec::of(spec),
    }
}

fn pool(name: &str, generation: i64, addresses: &str) -> ObjectView {
    let spec = json!({ "addresses": [addresses] });
    object(Kind::IpAddressPool, name, generation, spec)
}

fn layer2(name: &str) -> ObjectView {
    object(Kind::L2Advertisement, name, 1, Value::Null)
}

/// A controller with what it has seen, and what it wrote.
struct World {
    index: Index,
    now: Instant,
    compiled: Option<CompiledView>,
    versions: u64,
}

impl World {
    fn new(services: Vec<ferrolb_core::view::ServiceView>, compiled: CompiledView) -> Self {
        let mut index = Index::new(None, SOURCE.to_owned());
        index.await_sources(Choice::Auto, (NAMESPACE, "ferrolb-config"), true);
        index.reset(services, &BTreeSet::new(), at(0));
        let mut world = Self {
            index,
            now: at(1_000),
            compiled: Some(compiled),
            versions: 100,
        };
        world.index.handle_compiled(world.compiled.clone());
        world
    }

    fn text(&mut self, version: &str, text_: Option<&str>) -> &mut Self {
        let map = text_.map(|it| text(version, it));
        self.index.set_config(map.as_ref());
        self.follow()
    }

    /// The API server has no kinds.
    fn no_kinds(&mut self) -> &mut Self {
        self.index.handle_kinds(&BTreeMap::new(), self.now);
        self.follow()
    }

    /// It has them, and these objects.
    fn listed(&mut self, objects: &[ObjectView]) -> &mut Self {
        self.kinds(Presence::Served);
        for kind in Kind::ALL {
            let objects = objects.iter().filter(|view| view.kind == kind);
            let change = Change::Listed {
                objects: objects.cloned().collect(),
                unreadable: BTreeSet::new(),
            };
            self.index.handle_object(kind, change, self.now);
        }
        self.follow().wait(300)
    }

    fn kinds(&mut self, presence: Presence) -> &mut Self {
        let kinds = Kind::ALL.into_iter().map(|kind| (kind, presence)).collect();
        self.index.handle_kinds(&kinds, self.now);
        self.follow()
    }

    fn apply(&mut self, view: ObjectView) -> &mut Self {
        let kind = view.kind;
        self.index
            .handle_object(kind, Change::Applied(view), self.now);
        self.wait(300)
    }

    fn delete(&mut self, kind: Kind, name: &str) -> &mut Self {
        let change = Change::Deleted(name.to_owned());
        self.index.handle_object(kind, change, self.now);
        self.wait(300)
    }

    fn wait(&mut self, millis: u64) -> &mut Self {
        self.now = self.now + Duration::from_millis(millis);
        self.follow()
    }

    fn follow(&mut self) -> &mut Self {
        self.index.follow_sources(self.now);
        self
    }

    /// What the controller would write of the compiled object.
    fn write(&mut self) -> Option<CompiledWrite> {
        self.index.poll_compiled(self.now)
    }

    /// The API server takes it; what stands there then.
    fn written(&mut self) -> Option<Compiled> {
        if let Some(CompiledWrite {
            resource_version,
            data,
            ..
        }) = self.write()
        {
            let view = self.compiled.get_or_insert_with(empty);
            assert_eq!(resource_version, view.resource_version, "fenced");
            self.versions += 1;
            view.resource_version = self.versions.to_string();
            for (key, value) in data {
                match value {
                    Some(value) => view.data.insert(key, value),
                    None => view.data.remove(&key),
                };
            }
            let done = Written::Done(view.clone());
            self.index.handle_compiled_written(done, self.now);
            assert_eq!(self.write(), None, "nothing is left to write");
        }
        let view = self.compiled.as_ref()?;
        compiled::read(&view.data, &view.uid).ok()
    }

    /// The names of the pools in force.
    fn in_force(&self) -> Vec<String> {
        let pools = self.index.pool_statuses();
        pools.into_iter().map(|pool| pool.name).collect()
    }

    /// Reasons of the Events, and what they are about.
    fn notices(&mut self) -> Vec<(event::EventReason, String)> {
        self.index.settle();
        let notices = std::iter::from_fn(|| self.index.poll_notice());
        let about = |notice: Notice| {
            let object = notice.words.object;
            (
                notice.words.reason,
                format!("{} {}", object.kind, object.name),
            )
        };
        notices.map(about).collect()
    }

    fn blockers(&self) -> String {
        self.index.blockers().join("; ")
    }
}

#[test]
fn without_any_kinds_the_configmap_is_in_force_as_ever_and_is_compiled_for_who_starts() {
    let mut world = World::new(vec![service("web", "1", &[])], empty());
    world.text("1", Some(OLD));
    assert!(
        world.blockers().contains("not asked"),
        "{}",
        world.blockers()
    );
    assert_eq!(world.index.settle(), 0);
    world.no_kinds();
    assert_eq!(world.blockers(), "");
    assert_eq!(world.in_force(), ["old"]);
    // A status of the ConfigMap waits for nothing: speakers read the text.
    assert_eq!(told(&updates(&mut world.index)), ["web 10.0.0.1"]);
    let compiled = world.written().expect("it is compiled");
    assert_eq!(compiled.memory.source, Source::ConfigMap);
    assert_eq!(Some(&compiled.config), world.index.in_force.current());
    // In the steady state nothing is written.
    world.no_kinds().wait(60_000);
    world.index.handle_compiled(world.compiled.clone());
    assert_eq!(world.follow().write(), None);
    world.text("2", Some(OLD));
    assert_eq!(world.write(), None);
    assert_eq!(world.notices(), []);
}

#[test]
fn a_controller_that_starts_beside_a_broken_configmap_starts_from_what_was_in_force() {
    for data in [Some(BROKEN), None] {
        let compiled = left_by(Source::ConfigMap, OLD);
        let mut world = World::new(vec![service("web", "1", &[])], compiled);
        world.text("1", data).no_kinds();
        assert_eq!(world.blockers(), "");
        assert_eq!(world.in_force(), ["old"]);
        assert!(world.index.config_stale());
        assert_eq!(told(&updates(&mut world.index)), ["web 10.0.0.1"]);
        let said = world.notices();
        let is_refused = said.iter().any(|(name, _)| *name == event::CONFIG_REFUSED);
        assert_eq!(is_refused, data.is_some());
        assert_eq!(world.write(), None, "it is as it was");
    }
}

#[test]
fn what_the_controller_did_not_write_is_no_memory() {
    let mut forged = left_by(Source::Objects, OLD);
    forged.uid = "another".to_owned();
    let mut world = World::new(vec![], forged);
    world.text("1", None).no_kinds();
    assert_eq!(world.in_force(), [""; 0]);
    assert!(!world.index.config_loaded());
}

#[test]
fn where_the_compiled_object_is_missing_it_is_said_if_somebody_needs_it() {
    let mut world = World::new(vec![], empty());
    world.index.handle_compiled(None);
    world.text("1", Some(OLD)).no_kinds();
    assert_eq!((world.write(), world.blockers()), (None, String::new()));
    world.text("2", None);
    world.listed(&[pool("lan", 1, "10.9.0.0/24"), layer2("all")]);
    assert!(
        world.blockers().contains("helm upgrade"),
        "{}",
        world.blockers()
    );
    world.index.handle_compiled(Some(empty()));
    world.follow();
    assert_eq!(world.blockers(), "");
    assert!(world.write().is_some());
    // A write that failed is tried again later.
    let failed = Written::Failed("no".to_owned());
    world.index.handle_compiled_written(failed, world.now);
    assert_eq!(world.write(), None);
    assert_eq!(world.index.poll_timeout(), Some(world.now + WRITE_AGAIN));
    world.wait(5_000);
    assert!(world.write().is_some());
}

#[test]
fn a_replica_that_follows_has_in_force_what_the_leader_wrote() {
    let mut world = World::new(vec![], empty());
    world.index.follow();
    world.text("1", Some(OLD));
    assert_eq!(world.in_force(), ["old"]);
    world.text("1", Some(BROKEN));
    assert_eq!(world.in_force(), ["old"]);
    assert!(world.index.config_stale());
    world.text("1", Some(OLD));
    assert_eq!(world.write(), None);
    const LAN: &str = "address-pools: [{ name: lan, protocol: layer2, addresses: [10.0.0.0/24] }]";
    world.compiled = Some(left_by(Source::Objects, LAN));
    world.index.handle_compiled(world.compiled.clone());
    assert_eq!(world.in_force(), ["lan"]);
    assert_eq!(world.blockers(), "", "it is ready to lead");
    // It leads: what was in force stays, though nothing is left of the objects.
    world.index.lead();
    assert!(world.blockers().contains("Services") || world.blockers().contains("services"));
    world.index.reset(vec![], &BTreeSet::new(), world.now);
    world.no_kinds();
    assert_eq!(world.in_force(), ["lan"]);
    let memory = world.written().expect("it is written anew").memory;
    assert_eq!((memory.source, memory.orphaned), (Source::Objects, true));
}

#[test]
fn objects_that_are_in_force_from_the_start_are_compiled_before_any_status() {
    let mut world = World::new(vec![service("web", "1", &[])], empty());
    world.text("1", Some(OLD));
    world.listed(&[pool("lan", 1, "10.9.0.0/24"), layer2("all")]);
    assert_eq!(world.in_force(), ["lan"]);
    assert_eq!(
        told(&updates(&mut world.index)),
        [""; 0],
        "no speaker could read it"
    );
    let compiled = world.written().expect("it is compiled");
    assert_eq!(compiled.memory.source, Source::Objects);
    assert_eq!(told(&updates(&mut world.index)), ["web 10.9.0.0"]);
    let said = world.notices();
    let ignored = (event::CONFIG_IGNORED, "ConfigMap config".to_owned());
    assert_eq!(
        said.iter().filter(|one| **one == ignored).count(),
        1,
        "{said:?}"
    );
    // Said once, and nothing is written while nothing changes.
    world.listed(&[pool("lan", 1, "10.9.0.0/24"), layer2("all")]);
    world.wait(60_000);
    assert_eq!(world.write(), None);
    assert_eq!(world.notices(), []);
}

#[test]
fn a_change_over_waits_until_nothing_is_lacking_and_says_what_is() {
    let held = service("web", "1", &["10.0.0.1"]);
    let mut world = World::new(vec![held], left_by(Source::ConfigMap, OLD));
    world.text("1", Some(OLD)).no_kinds();
    assert_eq!(world.in_force(), ["old"]);
    world.listed(&[pool("lan", 1, "10.9.0.0/24")]);
    assert_eq!(world.in_force(), ["old"]);
    let on_it = |reason| (reason, "IPAddressPool lan".to_owned());
    let said = [on_it(event::CONFIG_WAITS), on_it(event::NOT_ADVERTISED)];
    assert_eq!(world.notices(), said);
    let status = world.index.configuration_status();
    assert_eq!(status.from.as_deref(), Some("configmap"));
    assert_eq!(status.waits_for, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    // A pool that holds it, and then an advertisement: nothing is lost in between.
    world.apply(pool("lan", 2, "10.0.0.0/24"));
    assert_eq!(world.in_force(), ["old"]);
    world.apply(layer2("all"));
    assert_eq!(world.in_force(), ["lan"]);
    assert_eq!(
        told(&updates(&mut world.index)),
        [""; 0],
        "no address moves"
    );
    let status = world.index.configuration_status();
    assert_eq!(status.from.as_deref(), Some("objects"));
    assert_eq!(status.waits_for, [] as [IpAddr; 0]);
    assert_eq!(world.written().unwrap().memory.source, Source::Objects);
    // Or the Service goes that is in the way.
    let held = service("web", "1", &["10.0.0.1"]);
    let mut world = World::new(vec![held], left_by(Source::ConfigMap, OLD));
    world.text("1", Some(OLD));
    world.listed(&[pool("lan", 1, "10.9.0.0/24"), layer2("all")]);
    assert_eq!(world.in_force(), ["old"]);
    world.index.delete(&service("web", "1", &[]).key);
    world.follow();
    assert_eq!(world.in_force(), ["lan"]);
}

#[test]
fn a_bad_object_is_told_once_and_so_is_its_next_good_version() {
    let mut world = World::new(vec![], empty());
    world.text("1", None);
    world.listed(&[pool("lan", 1, "10.9.0.0/24"), layer2("all")]);
    assert_eq!(world.in_force(), ["lan"]);
    world.written();
    world.notices();
    world.apply(pool("lan", 2, "nonsense"));
    assert_eq!(world.in_force(), ["lan"], "its last good version stays");
    let on_it = |reason| vec![(reason, "IPAddressPool lan".to_owned())];
    assert_eq!(world.notices(), on_it(event::CONFIG_REFUSED));
    assert!(world.index.config_stale());
    assert!(world.index.objects_error().unwrap().contains("lan"));
    assert!(world.index.configuration_status().objects[0].refused);
    world.apply(pool("other", 1, "10.8.0.0/24"));
    assert_eq!(
        world.in_force(),
        ["lan", "other"],
        "others are not affected"
    );
    assert_eq!(world.notices(), []);
    world.apply(pool("lan", 3, "still nonsense"));
    assert_eq!(world.notices(), on_it(event::CONFIG_REFUSED));
    world.apply(pool("lan", 4, "10.9.0.0/25"));
    assert_eq!(world.notices(), on_it(event::CONFIG_ACCEPTED));
    assert!(!world.index.config_stale());
    assert_eq!(world.index.objects_error().as_deref(), Some(""));
}

#[test]
fn a_pool_that_nobody_announces_is_told() {
    let mut world = World::new(vec![], empty());
    world.text("1", None);
    world.listed(&[pool("lan", 1, "10.9.0.0/24")]);
    let said = world.notices();
    let nobody = (event::NOT_ADVERTISED, "IPAddressPool lan".to_owned());
    assert!(said.contains(&nobody), "{said:?}");
}

#[test]
fn kinds_that_are_deleted_take_nothing_with_them() {
    let mut world = World::new(vec![service("web", "1", &[])], empty());
    world.text("1", None);
    world.listed(&[pool("lan", 1, "10.9.0.0/24"), layer2("all")]);
    world.written();
    // The API server deletes the objects first, the advertisements before the pools.
    world.kinds(Presence::Terminating);
    world.delete(Kind::L2Advertisement, "all");
    assert!(world.index.poll_look(), "whether the kind is about to go");
    world.kinds(Presence::Terminating);
    world.delete(Kind::IpAddressPool, "lan");
    assert!(world.index.poll_look());
    world.kinds(Presence::Terminating).wait(20_000);
    assert_eq!(world.in_force(), ["lan"]);
    world.no_kinds().wait(60_000);
    assert_eq!(world.in_force(), ["lan"]);
    let memory = world.written().unwrap().memory;
    assert!(memory.orphaned, "who starts now knows it, too");
    assert_eq!(
        told(&updates(&mut world.index)),
        ["web 10.9.0.0"],
        "and new Services get addresses"
    );
}

#[test]
fn when_the_last_pool_is_deleted_services_keep_what_they_have() {
    let mut world = World::new(vec![service("web", "1", &[])], empty());
    world.text("1", Some(OLD));
    world.listed(&[pool("lan", 1, "10.9.0.0/24"), layer2("all")]);
    world.written();
    let sent = updates(&mut world.index);
    world
        .index
        .handle_outcome(&sent[0], &written("2"), world.now);
    world
        .index
        .apply(service("web", "2", &["10.9.0.0"]), world.now);
    world.notices();
    world.delete(Kind::IpAddressPool, "lan");
    assert!(world.index.poll_look());
    world.kinds(Presence::Served);
    assert_eq!(world.in_force(), ["lan"], "perhaps it is only replaced");
    world.wait(10_000);
    assert!(world.index.poll_look());
    world.kinds(Presence::Served);
    assert_eq!(world.in_force(), [""; 0]);
    assert_eq!(
        told(&updates(&mut world.index)),
        [""; 0],
        "the address is kept"
    );
    let said = world.notices();
    let gone = (event::POOLS_GONE, "ConfigMap ferrolb-config".to_owned());
    assert!(said.contains(&gone), "{said:?}");
    assert_eq!(world.written().unwrap().config, Config::default());
    // The ConfigMap that was forgotten does not come back; one that somebody writes does.
    world.wait(60_000);
    assert_eq!(world.in_force(), [""; 0]);
    world.text("2", Some(BROKEN));
    assert_eq!(world.in_force(), [""; 0]);
    world.text(
        "3",
        Some("address-pools: [{ name: new, protocol: layer2, addresses: [10.9.0.0/24] }]"),
    );
    assert_eq!(world.in_force(), ["new"]);
}

#[test]
fn what_does_not_fit_into_the_compiled_object_is_not_put_in_force() {
    let mut world = World::new(vec![], empty());
    world.text("1", None);
    world.listed(&[pool("lan", 1, "10.9.0.0/24"), layer2("all")]);
    let addresses = |pool: usize| -> Vec<String> {
        (0..5_000)
            .map(|n| format!("10.{pool}.{}.{}/32", n / 250, n % 250))
            .collect()
    };
    for number in 10..24 {
        let spec = json!({ "addresses": addresses(number) });
        let view = object(Kind::IpAddressPool, &format!("p{number}"), 1, spec);
        world
            .index
            .handle_object(view.kind, Change::Applied(view), world.now);
    }
    world.wait(2_000);
    assert_eq!(world.in_force(), ["lan"]);
    let problem = world.index.configuration_status().problem.unwrap();
    assert_eq!(problem.reason, "config_too_large");
    assert!(world.index.config_stale());
}
