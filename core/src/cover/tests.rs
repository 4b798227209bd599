use proptest::prelude::*;

use super::*;

#[derive(Debug, Default, Clone)]
struct Services {
    all: BTreeSet<ServiceKey>,
    members: usize,
}

impl Wanted for Services {
    fn wants(&self, service: &ServiceKey) -> bool {
        self.all.contains(service)
    }

    fn all(&self) -> impl Iterator<Item = &ServiceKey> {
        self.all.iter()
    }

    fn members(&self) -> usize {
        self.members
    }
}

fn key(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey::new(namespace, name)
}

fn secs(secs: u64) -> Instant {
    Instant::from_millis(secs * 1_000)
}

/// A speaker's watches, and an API server that lists as soon as it is told to.
struct Scene {
    cover: Cover,
    services: Services,
    now: Instant,
    /// What each open watch selects, and whether it is in sync.
    open: BTreeMap<WatchId, (Option<String>, bool)>,
    opened: usize,
    /// Which watches say the same as their followers.
    agree: bool,
}

impl Scene {
    fn new(names: &[&str]) -> Self {
        let mut scene = Self {
            cover: Cover::new(Spread::of_name("n1")),
            services: Services::default(),
            now: secs(1),
            open: BTreeMap::new(),
            opened: 0,
            agree: true,
        };
        scene
            .services
            .all
            .extend(names.iter().map(|name| key("shop", name)));
        scene.cover.handle_listed();
        scene.poll();
        scene
    }

    fn add(&mut self, service: ServiceKey) {
        if self.services.all.insert(service) {
            self.cover.handle_service(true);
        }
    }

    fn remove(&mut self, service: &ServiceKey) {
        if self.services.all.remove(service) {
            self.cover.handle_service(false);
        }
    }

    fn sync(&mut self) {
        for (id, (_, in_sync)) in &mut self.open {
            *in_sync = true;
            self.cover.handle_synced(*id);
        }
    }

    fn poll(&mut self) {
        let agree = self.agree;
        while let Some(order) = self
            .cover
            .poll_order(&self.services, |_, _, _| agree, self.now)
        {
            match order {
                Order::Open(id, selector) => {
                    self.opened += 1;
                    let before = self.open.insert(id, (selector, false));
                    assert_eq!(before, None, "no name is used twice");
                }
                Order::Close(id) => {
                    assert!(self.open.remove(&id).is_some(), "it was open");
                }
            }
        }
    }

    /// Goes on for so long; each watch is in sync when time next stands still.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.answer();
            let next = self.cover.poll_timeout().filter(|at| *at < end);
            let Some(next) = next else { break };
            self.now = next.max(self.now);
            self.poll();
        }
        self.now = end;
        self.answer();
    }

    /// Each watch that is opened is in sync at once.
    fn answer(&mut self) {
        loop {
            let before = (self.opened, self.open.len());
            self.sync();
            self.poll();
            if (self.opened, self.open.len()) == before {
                return;
            }
        }
    }

    fn selectors(&self) -> Vec<&str> {
        let selectors = self.open.values().map(|(selector, _)| selector.as_deref());
        selectors.map(|it| it.unwrap_or("everything")).collect()
    }

    fn is_covered(&self, service: &ServiceKey) -> bool {
        self.cover.speaks_for(service).is_some()
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn nothing_is_watched_before_the_services_are_known_nor_without_any() {
    let mut cover = Cover::new(Spread::of_name("n1"));
    let services = Services::default();
    assert!(!cover.is_complete(&services));
    assert_eq!(cover.poll_order(&services, |_, _, _| true, secs(1)), None);
    cover.handle_listed();
    assert!(cover.is_complete(&services));
    assert_eq!(cover.poll_order(&services, |_, _, _| true, secs(1)), None);
    assert_eq!(cover.poll_timeout(), None);
}

#[test]
fn services_of_one_name_are_selected_once_and_covered_each_by_itself() {
    let mut scene = Scene::new(&["web", "db"]);
    scene.add(key("bank", "web"));
    scene.wait(MINUTE);
    assert_eq!(
        scene.selectors(),
        [
            "kubernetes.io/service-name in (db,web)",
            "kubernetes.io/service-name in (web)"
        ],
        "what came of bank/web before was thrown away"
    );
    scene.wait(5 * MINUTE);
    assert_eq!(
        scene.selectors(),
        ["kubernetes.io/service-name in (db,web)"]
    );
    assert!(scene.is_covered(&key("bank", "web")));
}

#[test]
fn a_new_service_is_watched_at_once_and_the_former_watch_stays_until_a_common_one_says_the_same() {
    let mut scene = Scene::new(&["web"]);
    scene.wait(MINUTE);
    scene.add(key("shop", "new"));
    scene.poll();
    assert_eq!(
        scene.selectors(),
        [
            "kubernetes.io/service-name in (web)",
            "kubernetes.io/service-name in (new)"
        ]
    );
    assert!(!scene.is_covered(&key("shop", "new")), "not in sync");
    scene.sync();
    scene.poll();
    assert!(scene.is_covered(&key("shop", "new")));
    scene.agree = false;
    let fold_at = scene.cover.poll_timeout().unwrap();
    let wait = fold_at.saturating_since(scene.now);
    assert!(wait >= FOLD[0] && wait < FOLD[1], "{wait:?}");
    scene.now = fold_at;
    scene.poll();
    scene.sync();
    scene.poll();
    assert_eq!(scene.open.len(), 3, "they do not say the same");
    assert_eq!(scene.cover.speaks_for(&key("shop", "web")), Some(0));
    scene.agree = true;
    scene.now = scene.now + LOOK;
    scene.poll();
    assert_eq!(
        scene.selectors(),
        ["kubernetes.io/service-name in (new,web)"]
    );
}

#[test]
fn a_former_watch_that_never_says_the_same_is_closed_in_the_end() {
    let mut scene = Scene::new(&["web"]);
    scene.wait(MINUTE);
    scene.add(key("shop", "new"));
    scene.agree = false;
    scene.wait(FOLD[1] + OVERDUE + 2 * LOOK);
    assert_eq!(
        scene.selectors(),
        ["kubernetes.io/service-name in (new,web)"]
    );
}

#[test]
fn services_that_come_together_have_few_watches() {
    let mut scene = Scene::new(&["web"]);
    scene.wait(MINUTE);
    for number in 0..50 {
        scene.add(key("shop", &format!("new-{number}")));
        scene.poll();
        scene.now = scene.now + Duration::from_millis(2);
    }
    scene.wait(Duration::from_secs(2));
    assert_eq!(scene.open.len(), 3, "{:?}", scene.selectors());
    assert!(scene.services.all.iter().all(|key| scene.is_covered(key)));
}

#[test]
fn one_new_service_a_second_is_a_watch_of_everything_until_it_has_been_quiet() {
    let mut scene = Scene::new(&["web"]);
    scene.wait(MINUTE);
    for number in 0..60 {
        scene.add(key("shop", &format!("n{number}")));
        scene.wait(Duration::from_secs(1));
    }
    assert_eq!(scene.selectors(), ["everything"]);
    assert_eq!(scene.opened, MOST_WATCHES + 1);
    scene.wait(QUIET[0]);
    assert_eq!(scene.selectors(), ["everything"]);
    scene.wait(QUIET[1]);
    assert_eq!(scene.open.len(), 1);
    assert!(
        scene.selectors()[0].contains("(n0,n1,"),
        "{:?}",
        scene.selectors()
    );
}

#[test]
fn more_names_than_a_url_takes_are_a_watch_of_everything_until_they_are_half_as_many() {
    let name = |number: usize| format!("a-rather-long-name-of-a-service-{number:05}");
    let each = name(0).len() + COMMA;
    let mut scene = Scene::new(&[]);
    let most = MOST_BYTES / each;
    for number in 0..most {
        scene.add(key("shop", &name(number)));
    }
    scene.wait(MINUTE);
    assert!(scene.selectors()[0].contains(&name(most - 1)));
    scene.add(key("shop", &name(most)));
    scene.wait(MINUTE);
    assert_eq!(scene.selectors(), ["everything"]);
    scene.remove(&key("shop", &name(0)));
    scene.wait(60 * MINUTE);
    assert_eq!(scene.selectors(), ["everything"], "it does not flap");
    for number in 0..most / 2 + 1 {
        scene.remove(&key("shop", &name(number)));
    }
    scene.wait(60 * MINUTE);
    assert_eq!(scene.open.len(), 1);
    assert!(scene.selectors()[0].starts_with("kubernetes.io/service-name in (a-"));
}

#[test]
fn where_endpoints_are_read_there_is_one_watch_of_everything_and_never_another() {
    let mut scene = Scene::new(&["web"]);
    scene.cover.handle_unselectable(0);
    for name in ["a", "b", "c"] {
        scene.wait(20 * MINUTE);
        scene.add(key("shop", name));
    }
    scene.wait(60 * MINUTE);
    assert_eq!(scene.opened, 1);
    assert!(scene.is_covered(&key("shop", "c")));
    assert_eq!(scene.cover.scope(0), Some(&Scope::Everything));
}

#[test]
fn a_service_that_is_gone_is_selected_no_longer_after_minutes() {
    let mut scene = Scene::new(&["web", "gone"]);
    scene.wait(MINUTE);
    scene.remove(&key("shop", "gone"));
    scene.wait(6 * MINUTE);
    assert_eq!(scene.selectors(), ["kubernetes.io/service-name in (web)"]);
    scene.remove(&key("shop", "web"));
    scene.wait(MINUTE);
    assert_eq!(scene.selectors(), [] as [&str; 0]);
    scene.wait(60 * MINUTE);
    assert_eq!(scene.opened, 2);
}

#[test]
fn a_thousand_speakers_do_not_ask_for_a_new_service_at_once() {
    let mut parts = [0_usize; 10];
    for number in 0..1_000 {
        let mut scene = Scene::new(&["web"]);
        scene.cover.spread = Spread::of_name(&format!("node-{number}"));
        scene.services.members = 1_000;
        scene.wait(MINUTE);
        scene.add(key("shop", "new"));
        scene.poll();
        let at = scene.cover.poll_timeout().unwrap();
        let wait = at.saturating_since(scene.now);
        parts[usize::try_from(wait.as_millis()).unwrap() / 100] += 1;
        scene.wait(LONGEST_TURN);
        assert!(scene.is_covered(&key("shop", "new")));
    }
    assert!(parts.into_iter().all(|part| part < 160), "{parts:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8),
    Remove(u8),
    Wait(u32),
    /// The API server answers.
    Sync,
    /// Watches come to say the same, or not.
    Agree(bool),
    Unselectable,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u8..60).prop_map(Step::Add),
        5 => (0_u8..60).prop_map(Step::Remove),
        6 => (0_u32..400_000).prop_map(Step::Wait),
        3 => (0_u32..300).prop_map(Step::Wait),
        6 => Just(Step::Sync),
        2 => any::<bool>().prop_map(Step::Agree),
        1 => prop::bool::weighted(0.1).prop_map(|it| if it { Step::Unselectable } else { Step::Sync }),
    ]
}

/// Three namespaces with the same names, long enough that sixty do not fit into a URL.
fn numbered(number: u8) -> ServiceKey {
    let filler = "x".repeat(150);
    key(
        &format!("ns-{}", number % 3),
        &format!("s-{}-{filler}", number / 2),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// In whatever order Services come and go and the API server answers.
    #[test]
    fn who_is_covered_stays_so_and_every_service_is_soon(
        steps in prop::collection::vec(step(), 1..80), members in 0_usize..2_000,
    ) {
        let mut scene = Scene::new(&[]);
        scene.services.members = members;
        let mut covered = BTreeSet::new();
        for step in steps {
            match step {
                Step::Add(number) => scene.add(numbered(number)),
                Step::Remove(number) => {
                    scene.remove(&numbered(number));
                    covered.remove(&numbered(number));
                }
                Step::Wait(millis) => scene.now = scene.now + Duration::from_millis(millis.into()),
                Step::Sync => scene.sync(),
                Step::Agree(agree) => scene.agree = agree,
                Step::Unselectable => {
                    let id = scene.open.keys().next().copied();
                    if let Some(id) = id { scene.cover.handle_unselectable(id) }
                }
            }
            scene.poll();
            for service in &covered {
                prop_assert!(scene.is_covered(service), "{service} was forgotten");
            }
            covered.extend(scene.services.all.iter().filter(|one| scene.is_covered(one)).cloned());
            prop_assert!(scene.open.len() <= MOST_WATCHES + 3, "{:?}", scene.selectors());
            for selector in scene.selectors() {
                prop_assert!(selector.replace(',', "%2C").len() <= MOST_BYTES + 100);
            }
        }
        // With an API server that answers, all are covered within seconds, and by one watch in the end.
        scene.wait(LONGEST_TURN + GATHER);
        scene.sync();
        scene.poll();
        for service in &scene.services.all {
            prop_assert!(scene.is_covered(service), "{service} is not covered");
        }
        scene.wait(2 * QUIET[1]);
        prop_assert!(scene.open.len() <= 1, "{:?}", scene.selectors());
        let timeout = scene.cover.poll_timeout();
        scene.wait(2 * QUIET[1]);
        prop_assert_eq!(scene.cover.poll_timeout(), None, "before: {:?}", timeout);
    }
}
