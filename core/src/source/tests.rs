use super::*;
use crate::alloc::tests::service;
use crate::config::parse;

const OLD: &str =
    "address-pools: [{name: old, protocol: layer2, addresses: [192.168.64.1-192.168.64.9]}]";
const LOW: &str =
    "address-pools: [{name: low, protocol: layer2, addresses: [192.168.64.1-192.168.64.4]}]";
const ALL: &str = "address-pools: [{name: all, protocol: layer2, addresses: [192.168.64.0/24]}]";
const ROUTED: &str = "address-pools: [{name: far, protocol: bgp, addresses: [192.168.64.0/24]}]";
const BROKEN: &str = "address-pools: [";

/// A controller, with what it sees.
struct World {
    sources: Sources,
    choice: Choice,
    now: Instant,
    /// The number of the `ConfigMap`, since each that is made has its own, and its text.
    text: Option<(u32, Outcome)>,
    pools: usize,
    objects: Config,
    presence: Presence,
    asked: Instant,
    current: Option<Config>,
    held: Vec<(IpAddr, bool)>,
    /// What a controller that starts finds in the compiled object.
    written: Option<(Memory, Config)>,
}

impl World {
    /// A controller that starts where nothing is.
    fn new() -> Self {
        Self::with(Choice::Auto)
    }

    fn with(choice: Choice) -> Self {
        Self {
            sources: Sources::new(choice),
            choice,
            now: Instant::from_millis(1_000),
            text: None,
            pools: 0,
            objects: Config::default(),
            presence: Presence::Absent,
            asked: Instant::from_millis(1_000),
            current: None,
            held: Vec::new(),
            written: None,
        }
    }

    fn text(&mut self, number: u32, text: &str) -> &mut Self {
        self.text = Some((number, parse(text)));
        self
    }

    /// The kinds are there, with so many pools, of which this much can be used.
    fn objects(&mut self, pools: usize, text: &str) -> &mut Self {
        self.presence = Presence::Served;
        self.pools = pools;
        self.objects = parse(text).in_force().unwrap_or_default();
        self
    }

    fn no_objects(&mut self, presence: Presence) -> &mut Self {
        self.objects(0, "");
        self.presence = presence;
        self
    }

    /// Our controller gave this address.
    fn gave(&mut self, address: &str) -> &mut Self {
        self.held.push((address.parse().unwrap(), true));
        self
    }

    /// MetalLB's did.
    fn theirs(&mut self, address: &str) -> &mut Self {
        self.held.push((address.parse().unwrap(), false));
        self
    }

    fn wait(&mut self, millis: u64) -> &mut Self {
        self.now = self.now + Duration::from_millis(millis);
        self
    }

    /// The API server is asked for the kinds.
    fn look(&mut self) -> &mut Self {
        self.asked = self.now;
        self
    }

    /// Decides, and does what the controller does then.
    fn judge(&mut self) -> Verdict {
        let web = service("web");
        let held = self.held.iter().map(|(address, ours)| Held {
            address: *address,
            service: &web,
            ours: *ours,
        });
        let held: Vec<_> = held.collect();
        let id = self
            .text
            .as_ref()
            .map(|(number, said)| format!("{number}/{said:?}"));
        let said = self.text.as_ref().map(|(_, said)| said);
        let seen = Seen {
            text: id.as_deref().zip(said),
            pools: self.pools,
            objects: &self.objects,
            presence: (self.presence, self.asked),
            current: self.current.as_ref(),
            held: &held,
        };
        let verdict = self.sources.judge(seen, self.now);
        let put = match verdict.put {
            Put::Text => said.cloned().and_then(Outcome::in_force),
            Put::Objects => Some(self.objects.clone()),
            Put::Nothing => Some(Config::default()),
            Put::Same => None,
        };
        self.current = put.or(self.current.take());
        self.written = self
            .sources
            .memory()
            .zip(self.current.clone())
            .or(self.written.take());
        verdict
    }

    /// What is in force now: the names of its pools.
    fn in_force(&mut self) -> String {
        self.judge();
        let pools = self.current.iter().flat_map(|config| &config.pools);
        pools.map(|pool| pool.name.as_str()).collect()
    }

    fn missing(&mut self) -> Vec<String> {
        let missing = self.judge().missing;
        missing.iter().map(ToString::to_string).collect()
    }

    /// The controller is another process now, with or without a compiled object.
    fn restart(&mut self, remembers: bool) -> &mut Self {
        self.sources = Sources::new(self.choice);
        self.current = None;
        if let Some((memory, config)) = self.written.take().filter(|_| remembers) {
            self.sources.restore(memory);
            self.current = Some(config);
        }
        self
    }
}

#[test]
fn who_comes_from_metallb_has_the_objects_and_a_forgotten_configmap_does_not_count() {
    let mut world = World::new();
    world.text(1, OLD).objects(1, ALL).theirs("192.168.64.5");
    assert_eq!(world.in_force(), "all");
    assert!(world.judge().ignores_text);
    // Even where no pool holds what MetalLB gave, and where none can be used.
    let mut world = World::new();
    world.text(1, OLD).objects(1, LOW).theirs("192.168.64.8");
    assert_eq!(world.in_force(), "low");
    let mut world = World::new();
    world.text(1, OLD).objects(1, "");
    assert_eq!(world.in_force(), "");
    assert!(world.judge().ignores_text);
}

#[test]
fn an_upgrade_with_left_behind_objects_keeps_what_was_in_force() {
    for text in [OLD, BROKEN] {
        let mut world = World::new();
        world.text(1, text).objects(1, LOW).gave("192.168.64.8");
        let kept = if text == OLD { "old" } else { "" };
        assert_eq!(world.in_force(), kept);
        assert_eq!(world.missing(), ["192.168.64.8"]);
        // A controller without a memory comes to the same.
        world.restart(false);
        assert_eq!(world.in_force(), kept);
        world.objects(1, ALL);
        assert_eq!(world.in_force(), "all", "{text}");
    }
}

#[test]
fn a_reinstalled_controller_does_not_revive_a_configmap_beside_objects_that_hold_all() {
    let mut world = World::new();
    world.text(1, OLD).objects(1, ALL).gave("192.168.64.8");
    assert_eq!(world.in_force(), "all");
    world.restart(false);
    assert_eq!(world.in_force(), "all");
    // What was given from the objects and lies in no ConfigMap keeps nobody.
    let mut world = World::new();
    world.text(1, OLD).objects(1, LOW).gave("10.0.0.1");
    assert_eq!(world.in_force(), "low");
}

/// Case A40, step by step.
#[test]
fn a_change_over_from_the_configmap_has_no_gap() {
    let mut world = World::new();
    world.text(1, OLD).gave("192.168.64.1").gave("192.168.64.8");
    assert_eq!(world.in_force(), "old");
    assert_eq!(world.judge(), just(Put::Text), "nothing to be told");
    world.no_objects(Presence::Served);
    assert_eq!(
        world.judge(),
        just(Put::Text),
        "the kinds alone are nothing"
    );
    world.objects(1, LOW);
    assert_eq!(world.missing(), ["192.168.64.8"]);
    assert_eq!(world.in_force(), "old");
    // All addresses, and nobody who announces them.
    world.objects(1, ALL);
    world.objects.layer2.clear();
    assert_eq!(world.missing(), ["192.168.64.1", "192.168.64.8"]);
    world.objects(1, ROUTED);
    assert_eq!(
        world.missing().len(),
        2,
        "to routers alone is less than now"
    );
    world.objects(1, ALL);
    let verdict = world.judge();
    assert_eq!((verdict.put, verdict.ignores_text), (Put::Objects, true));
    // The kinds are deleted: what was in force stays, also for a controller that starts.
    world.no_objects(Presence::Terminating);
    assert_eq!(world.in_force(), "all");
    world.no_objects(Presence::Absent).wait(60_000).look();
    assert_eq!(world.in_force(), "all");
    assert_eq!(world.restart(true).in_force(), "all");
    // They are back, and empty; then with fewer addresses than are in use.
    world.no_objects(Presence::Served).wait(60_000).look();
    assert_eq!(world.in_force(), "all");
    assert_eq!(world.restart(true).wait(60_000).look().in_force(), "all");
    world.objects(1, LOW);
    assert_eq!(world.missing(), ["192.168.64.8"]);
    assert_eq!(world.in_force(), "all");
    world.objects(2, OLD);
    assert_eq!(world.in_force(), "old");
}

#[test]
fn what_a_bgp_pool_holds_may_be_announced_by_anything() {
    let mut world = World::new();
    world.text(1, ROUTED).gave("192.168.64.1");
    assert_eq!(world.in_force(), "far");
    world.objects(1, ALL);
    world.objects.layer2.clear();
    assert_eq!(world.missing(), ["192.168.64.1"]);
    world.objects(1, ALL);
    assert_eq!(world.in_force(), "all");
}

#[test]
fn addresses_in_no_pool_of_the_configmap_keep_nobody() {
    let mut world = World::new();
    world
        .text(1, LOW)
        .gave("192.168.64.8")
        .gave("10.0.0.1")
        .theirs("192.168.64.1");
    assert_eq!(world.in_force(), "low");
    world.objects(
        1,
        "address-pools: [{name: b, protocol: layer2, addresses: [192.168.64.1/32]}]",
    );
    assert_eq!(
        world.in_force(),
        "b",
        "MetalLB's addresses are in use, too, and are held"
    );
}

#[test]
fn a_configmap_that_is_deleted_or_emptied_leaves_the_field_at_once() {
    for left in [None, Some(""), Some("address-pools: []")] {
        let mut world = World::new();
        world.text(1, OLD).gave("192.168.64.8");
        assert_eq!(world.in_force(), "old");
        world.objects(1, LOW);
        assert_eq!(world.in_force(), "old");
        world.text = left.map(|text| (1, parse(text)));
        assert_eq!(world.in_force(), "low", "{left:?}");
    }
    // Not for pools that cannot be used, nor for a text with errors.
    let mut world = World::new();
    world.text(1, OLD).gave("192.168.64.8");
    assert_eq!(world.in_force(), "old");
    world.objects(1, "").text = None;
    assert_eq!(world.in_force(), "old");
    world.objects(1, LOW).text(1, BROKEN);
    assert_eq!(world.in_force(), "old");
}

#[test]
fn while_the_objects_are_in_force_the_configmap_does_not_count() {
    let mut world = World::new();
    world.objects(1, ALL);
    assert_eq!(world.in_force(), "all");
    for text in [OLD, BROKEN, "", LOW] {
        world.text(1, text);
        assert_eq!(world.in_force(), "all");
        assert_eq!(world.restart(true).in_force(), "all");
    }
    world.objects(1, "");
    assert_eq!(world.in_force(), "", "objects that say nothing say it");
}

#[test]
fn the_last_pool_that_goes_takes_its_addresses_with_it_after_ten_seconds() {
    let mut world = World::new();
    world.text(1, OLD).objects(1, ALL).gave("192.168.64.8");
    assert_eq!(world.in_force(), "all");
    world.no_objects(Presence::Served);
    assert_eq!(world.in_force(), "all");
    let due = world.sources.poll_timeout().unwrap();
    assert_eq!(due.saturating_since(world.now), POOLS_AWAY);
    world.wait(9_999).look();
    assert_eq!(world.in_force(), "all");
    world.wait(1);
    assert!(
        world.judge().look,
        "first it is asked whether the kind is about to go"
    );
    assert_eq!(world.in_force(), "all");
    world.look();
    assert_eq!(
        world.in_force(),
        "",
        "a ConfigMap that was forgotten is not revived"
    );
    assert_eq!(world.sources.poll_timeout(), None);
    assert_eq!(world.restart(true).wait(60_000).look().in_force(), "");
    world.objects(1, LOW);
    assert_eq!(
        world.in_force(),
        "low",
        "nothing is lacking where nothing is in force"
    );
}

#[test]
fn a_pool_that_is_back_in_time_was_never_away() {
    let mut world = World::new();
    world.objects(1, ALL);
    assert_eq!(world.in_force(), "all");
    for _ in 0..3 {
        world.no_objects(Presence::Served).wait(9_000).look();
        assert_eq!(world.in_force(), "all");
        world.objects(1, LOW).wait(1_000).look();
        assert_eq!(world.in_force(), "low");
        world.objects(1, ALL);
        assert_eq!(world.in_force(), "all");
    }
}

#[test]
fn after_the_last_pool_an_edit_of_the_configmap_is_an_act() {
    let gone = |before: &str| {
        let mut world = World::new();
        world.text(1, before).objects(1, ALL);
        assert_eq!(world.in_force(), "all");
        world.no_objects(Presence::Served);
        world
    };
    // At once, or after the pools are out of force; by an edit, or by making it anew.
    let mut world = gone(OLD);
    assert_eq!(world.in_force(), "all");
    assert_eq!(world.text(1, LOW).in_force(), "low");
    assert!(!world.judge().ignores_text);
    let mut world = gone(OLD);
    world.in_force();
    world.wait(10_000).look();
    assert_eq!(world.in_force(), "");
    assert_eq!(world.text(1, BROKEN).in_force(), "", "that says nothing");
    assert_eq!(world.restart(true).text(2, OLD).in_force(), "old");
    // The same where the kinds are gone.
    let mut world = gone(OLD);
    world.no_objects(Presence::Absent);
    assert_eq!(world.in_force(), "all");
    assert_eq!(world.restart(true).in_force(), "all");
    assert_eq!(world.text(1, LOW).in_force(), "low");
    // And where there was none.
    let mut world = gone(OLD);
    world.objects(1, ALL).text = None;
    world.in_force();
    world.no_objects(Presence::Served);
    assert_eq!(world.text(9, OLD).in_force(), "old");
}

#[test]
fn a_layer_2_kind_that_goes_takes_no_advertisement_with_it() {
    let mut world = World::new();
    world.objects(1, ALL).gave("192.168.64.8");
    assert_eq!(world.in_force(), "all");
    world.presence = Presence::Terminating;
    world.objects.layer2.clear();
    assert_eq!(world.judge().put, Put::Same);
    world.presence = Presence::Served;
    assert_eq!(
        world.missing(),
        ["192.168.64.8"],
        "back, and not announced yet"
    );
    world.objects(1, ALL);
    assert_eq!(world.judge().put, Put::Objects);
}

#[test]
fn whoever_chooses_a_source_has_it() {
    use Source::{ConfigMap, Objects};
    // The objects, from a ConfigMap that holds more.
    let mut world = World::new();
    world.text(1, OLD).gave("192.168.64.8");
    assert_eq!(world.in_force(), "old");
    world.choice = Choice::Only(Objects);
    world.restart(true);
    assert_eq!(world.in_force(), "old", "there are none yet");
    assert_eq!(
        world.text(1, ALL).in_force(),
        "old",
        "and the text does not count"
    );
    assert!(world.judge().ignores_text);
    assert_eq!(
        world.objects(1, "").in_force(),
        "old",
        "nor one that cannot be used"
    );
    assert_eq!(world.objects(1, LOW).in_force(), "low");
    // Back to the ConfigMap: at once, but for errors.
    world.choice = Choice::Only(ConfigMap);
    world.restart(true).text(1, BROKEN);
    assert_eq!(world.in_force(), "low");
    assert_eq!(world.text(1, OLD).in_force(), "old");
    // By itself it would not have come, and would not stay out either.
    world.choice = Choice::Auto;
    assert_eq!(world.restart(true).in_force(), "old");
    assert_eq!(world.objects(1, ALL).in_force(), "all");
}

#[test]
fn a_text_that_was_passed_over_by_choice_is_not_revived_later() {
    let mut world = World::with(Choice::Only(Source::Objects));
    world.text(1, OLD).objects(1, ALL);
    assert_eq!(world.in_force(), "all");
    world.choice = Choice::Auto;
    world.restart(true).no_objects(Presence::Served);
    assert_eq!(world.in_force(), "all");
    world.wait(10_000).look();
    assert_eq!(world.in_force(), "");
}

#[test]
fn where_nothing_is_whoever_comes_first_is_in_force() {
    let mut world = World::new();
    assert_eq!(world.judge(), just(Put::Text));
    assert_eq!(world.sources.memory(), None);
    world.text(1, BROKEN);
    assert_eq!(world.in_force(), "");
    world.objects(1, ALL);
    assert_eq!(
        world.in_force(),
        "all",
        "a text with errors was never in force"
    );
}

#[test]
fn a_configmap_is_known_by_its_uid_and_all_that_it_says() {
    let data = |key: &str, text: &str| BTreeMap::from([(key.to_owned(), text.to_owned())]);
    let one = text_id("a", Some(&data("config", "x")));
    assert_eq!(one, text_id("a", Some(&data("config", "x"))));
    for other in [
        text_id("b", Some(&data("config", "x"))),
        text_id("a", Some(&data("config", "y"))),
        text_id("a", Some(&data("Config", "x"))),
        text_id("a", Some(&data("configx", ""))),
        text_id("a", None),
    ] {
        assert_ne!(one, other);
    }
}
