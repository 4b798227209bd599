//! `kubectl ferrolb dashboard` in a real browser, on a cluster of kubelets. Pictures of it stay in
//! `target/dashboard`, to be looked at.
//!
//! Needs root and the built programs. One at a time (`--test-threads=1`): each starts a control plane.

#![expect(clippy::print_stdout, reason = "the figures are worth reading")]

mod dashboard_page {
    pub(super) mod browser;
    pub(super) mod synthetic;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::daemon::program;
use ferrolb_tests::lab::Lab;
use ferrolb_tests::net::CONTROL_PLANE;
use ferrolb_tests::observe::{Frame, FrameObserver};
use ferrolb_tests::walk;
use serde_json::{Value, json};

use dashboard_page::browser::{Browser, PATIENCE};
use dashboard_page::synthetic;

/// Until somebody sees something, on an idle machine (milliseconds).
const FIRST_PAINT: f64 = 1_000.0;
/// Until a move is on the page: 1.5 s on an idle machine; a build beside it takes its share.
const MOVED: Duration = Duration::from_secs(3);
/// A redraw that nobody feels, of 10,000 addresses (milliseconds); 16 is a frame.
const REDRAW: f64 = 100.0;
/// What would act if it were taken for HTML.
const HOSTILE: &str = "<img src=x onerror=document.title=1><b id=owned>bold</b>";
const WINDOW: &str = "--window-size=1400,1250";

#[test]
fn the_dashboard_shows_what_happens_and_what_would() -> Result<()> {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dashboard");
    fs::create_dir_all(&pictures)?;
    Lab::builder("page").nodes(3).run(|lab| {
        walk::install(lab)?;
        walk::apply(lab, &["config-range.yaml"])?;
        let places = walk::spread(lab)?;
        let frames = lab.client()?.enter(|| FrameObserver::start("eth0"))??;
        let served = Served::start(lab)?;
        {
            let browser = Browser::start(lab.host(CONTROL_PLANE)?, &[WINDOW])?;
            it_is_there_at_once(&browser, &served.url)?;
            browser.picture(&pictures.join("peace.png"))?;
            what_others_write_is_text(lab, &browser)?;
            it_is_used_with_the_keyboard(&browser)?;
            what_if_draws_what_plan_says(lab, &browser, &pictures)?;
            a_changed_configuration_is_judged_as_plan_does(lab, &browser)?;
            let address = places["test-lb"].0;
            let behind =
                || a_cut_node_turns_dead_and_its_addresses_move(lab, &browser, &frames, address);
            // As for the first paint.
            ensure!(
                behind()? <= MOVED || behind()? <= MOVED || behind()? <= MOVED,
                "no move is on the page within {MOVED:?}"
            );
            browser.picture(&pictures.join("failover.png"))?;
            let told = browser.complaints()?;
            ensure!(told.is_empty(), "the console has {told:#?}");
        }
        for (name, looks) in [
            ("dark", [WINDOW, "--blink-settings=preferredColorScheme=0"]),
            (
                "narrow",
                ["--window-size=500,1900", "--force-prefers-reduced-motion"],
            ),
        ] {
            let browser = Browser::start(lab.host(CONTROL_PLANE)?, &looks)?;
            browser.open(&served.url)?;
            browser.until(DRAWN)?;
            browser.picture(&pictures.join(format!("{name}.png")))?;
        }
        a_snapshot_needs_no_server_and_may_be_large(lab, &pictures)
    })
}

/// The map has its nodes.
const DRAWN: &str = "return document.querySelectorAll('.node').length >= 3";

/// The plugin, until this is dropped.
struct Served {
    plugin: Child,
    url: String,
}

impl Served {
    fn start(lab: &Lab) -> Result<Self> {
        let program = program("kubectl-ferrolb")?;
        let mut command = lab.host(CONTROL_PLANE)?.command(&program.to_string_lossy());
        let mut plugin = command
            .arg("dashboard")
            .env("KUBECONFIG", lab.kubeconfig())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run the plugin")?;
        let out = plugin.stdout.take().context("no output")?;
        let mut served = Self {
            plugin,
            url: String::new(),
        };
        BufReader::new(out).read_line(&mut served.url)?;
        served.url.truncate(served.url.trim_end().len());
        ensure!(
            served.url.starts_with("http://127.0.0.1:"),
            "{:?}",
            served.url
        );
        Ok(served)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.plugin.kill();
        let _ = self.plugin.wait();
    }
}

fn map_of(pools: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "config", "namespace": "metallb-system" },
        "data": { "config": pools },
    })
}

/// A pool beside the walk's, an Event as a speaker's, an annotation.
fn write_what_would_act(lab: &Lab) -> Result<()> {
    let pools = json!({ "address-pools": [
        { "name": "default", "protocol": "layer2", "addresses": ["192.168.64.240-192.168.64.250"] },
        { "name": HOSTILE, "protocol": "layer2", "auto-assign": false, "addresses": ["192.168.64.230/32"] },
    ] });
    let uid = lab.kubectl(&[
        "get",
        "service",
        "test-lb",
        "-o",
        "jsonpath={.metadata.uid}",
    ])?;
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": "hostile", "namespace": "default" },
        "involvedObject": { "kind": "Service", "namespace": "default", "name": "test-lb", "uid": uid.trim() },
        "type": "Normal", "reason": "nodeAssigned", "message": HOSTILE,
        "source": { "component": "ferrolb-speaker", "host": HOSTILE },
        "lastTimestamp": "2026-01-01T00:00:00Z",
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "lost", "namespace": "default",
                      "annotations": { "metallb.universe.tf/address-pool": HOSTILE.replace("img", "svg") } },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
    });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [map_of(&pools.to_string()), event, service] });
    lab.apply(&list.to_string()).map(drop)
}

/// The shell is painted before anything is known, and the map as soon as it is.
fn it_is_there_at_once(browser: &Browser<'_>, url: &str) -> Result<()> {
    let is_quick = || -> Result<bool> {
        browser.open(url)?;
        browser.until(DRAWN)?;
        let at = |what: &str| -> Result<f64> {
            let script = format!("return performance.getEntriesByName('{what}')[0]?.startTime");
            browser.until(&script)?.as_f64().context("no time")
        };
        let (painted, drawn) = (at("first-contentful-paint")?, at("drawn")?);
        println!("first paint after {painted:.0} ms, the map after {drawn:.0} ms");
        Ok(painted <= FIRST_PAINT)
    };
    // The browser has just started, on the cores of a cluster: a look that was interrupted is no measure.
    ensure!(
        is_quick()? || is_quick()? || is_quick()?,
        "not painted within {FIRST_PAINT} ms"
    );
    // It would be lost if the page were loaded anew.
    browser.run("window.isTheSame = true").map(drop)
}

fn what_others_write_is_text(lab: &Lab, browser: &Browser<'_>) -> Result<()> {
    write_what_would_act(lab)?;
    browser.until(
        "return ['unknown_pool', 'onerror'].every((one) => document.body.innerText.includes(one))",
    )?;
    // Its details have its Events. One picture may have the Service and not yet its Event.
    browser.until(&format!(
        "const one = state.view.status.addresses.find((one) => one.services.includes('default/test-lb'));
         if (!one) return false;
         choose(one.address);
         return ['one', 'pools'].every((id) => document.getElementById(id).innerText.includes({}))",
        json!(HOSTILE)
    ))?;
    let acted = browser.run(
        "return [...document.querySelectorAll('main img, main svg, main script, #owned, main b[id]')].length \
         + (document.title.includes('FerroLB') ? 0 : 1)",
    )?;
    ensure!(acted == 0, "something of it is HTML");
    let refused = browser.run(
        "try { document.body.innerHTML = '<p>'; return 'taken' } catch { return 'refused' }",
    )?;
    ensure!(refused == "refused", "the policy lets HTML in");
    // That one is our own.
    browser.complaints()?;
    browser.run("document.getElementById('one-end').click()")?;
    lab.kubectl(&["delete", "service/lost", "event/hostile"])?;
    walk::apply(lab, &["config-range.yaml"])?;
    browser
        .until("return document.getElementById('findings').childElementCount === 0")
        .map(drop)
}

/// The tabulator leads to the nodes, and Enter opens one.
fn it_is_used_with_the_keyboard(browser: &Browser<'_>) -> Result<()> {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    browser.run("document.activeElement.blur()")?;
    for _ in 0..60 {
        browser.press(TAB)?;
        if browser.run("return document.activeElement.matches('.node .name')")? == json!(true) {
            browser.press(ENTER)?;
            let opened =
                browser.run("return document.activeElement.getAttribute('aria-expanded')")?;
            ensure!(opened == "true", "{opened}");
            let outlined =
                browser.run("return getComputedStyle(document.activeElement).outlineStyle")?;
            ensure!(outlined != "none", "the focus is not seen");
            return browser.press(ENTER);
        }
    }
    let at = browser.run("return document.activeElement.outerHTML")?;
    anyhow::bail!("the tabulator leads to no node, but to {at}")
}

/// Of each node, by both questions.
fn what_if_draws_what_plan_says(lab: &Lab, browser: &Browser<'_>, pictures: &Path) -> Result<()> {
    for (verb, button) in [("node-down", "dies"), ("drain", "drain")] {
        let mut moved = 0;
        for node in lab.nodes() {
            let name = &node.name;
            browser.run(&format!(
                "if (state.supposed) endSupposed();
                 const name = [...document.querySelectorAll('.node .name')].find((one) => one.textContent === '{name}');
                 if (name.getAttribute('aria-expanded') !== 'true') name.click();
                 name.closest('.node').querySelector('.{button}').click()"
            ))?;
            browser.until(
                "return state.supposed?.plan && !document.getElementById('whatif').hidden",
            )?;
            let drawn = browser.run(
                "return [...document.querySelectorAll('.chip.comes, .node.nobody .chip.silent')].map((chip) => [
                   chip.title.split(/[ ,]/)[0], chip.closest('.node').querySelector('.name')?.textContent ?? null])",
            )?;
            let drawn: Vec<(String, Option<String>)> = serde_json::from_value(drawn)?;
            let drawn: BTreeMap<_, _> = drawn.into_iter().collect();
            let said = answer(lab, &["plan", verb, name])?;
            let said = said["addresses"].as_array().context("no addresses")?.iter();
            let said = said.filter(|one| one["to"].is_null() || one["handsOver"] != json!(false));
            let said: BTreeMap<_, _> = said
                .map(|one| {
                    let to = one["to"].as_str().map(str::to_owned);
                    (one["address"].as_str().unwrap_or_default().to_owned(), to)
                })
                .collect();
            println!("{verb} {name}: {said:?}");
            ensure!(
                drawn == said,
                "{verb} {name}: drawn {drawn:?}, plan says {said:?}"
            );
            if !said.is_empty() && verb == "node-down" {
                browser.picture(&pictures.join("what-if.png"))?;
            }
            moved += said.len();
        }
        ensure!(moved > 0, "{verb}: no node had an address");
    }
    // Escape.
    browser.press("\u{e00c}")?;
    browser.until("return document.getElementById('whatif').hidden")?;
    browser
        .run("document.querySelector('.node .name[aria-expanded=true]').click()")
        .map(drop)
}

fn answer(lab: &Lab, args: &[&str]) -> Result<Value> {
    let output = lab.plugin(&[args, &["-o", "json"]].concat())?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{args:?}: {output:?}"))
}

/// One pool less takes addresses away; what is no configuration says so.
fn a_changed_configuration_is_judged_as_plan_does(lab: &Lab, browser: &Browser<'_>) -> Result<()> {
    let pools = json!({ "address-pools": [
        { "name": "default", "protocol": "layer2", "addresses": ["192.168.64.240-192.168.64.241"] },
    ] });
    let map = map_of(&pools.to_string()).to_string();
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), &map)?;
    let said = answer(lab, &["plan", "config", &file.path().to_string_lossy()])?;
    let names = |effect: &str| -> BTreeSet<String> {
        let services = said["services"].as_array().into_iter().flatten();
        let services = services.filter(|one| one["effect"] == effect);
        let name = |one: &Value| {
            format!(
                "{}/{}",
                one["namespace"].as_str().unwrap_or(""),
                one["name"].as_str().unwrap_or("")
            )
        };
        services.map(name).collect()
    };
    let pasted = |text: &str| {
        browser.run(&format!(
            "document.getElementById('config-text').value = {};
             document.getElementById('config-answer').replaceChildren();
             document.querySelector('#config-form [type=submit]').click()",
            json!(text)
        ))?;
        browser.until("return document.querySelector('#config-answer > p:not(.hint)') !== null")
    };
    pasted(&map)?;
    for effect in ["loses", "changes", "gains"] {
        let drawn = browser.run(&format!(
            "return [...document.querySelectorAll('#config-answer li > .{effect}')].map((one) => one.nextElementSibling.textContent)"
        ))?;
        let drawn: BTreeSet<String> = serde_json::from_value(drawn)?;
        ensure!(
            drawn == names(effect),
            "{effect}: {drawn:?}, plan says {said}"
        );
    }
    ensure!(
        !said["services"].as_array().context("none")?.is_empty(),
        "{said}"
    );
    pasted("address-pools: [{name: a, protocol: layer3}]")?;
    let refused = browser.run("return document.getElementById('config-answer').innerText")?;
    ensure!(
        refused
            .as_str()
            .unwrap_or_default()
            .contains("would be refused"),
        "{refused}"
    );
    browser
        .run(
            "document.getElementById('config-text').value = '';
             document.getElementById('config-answer').replaceChildren()",
        )
        .map(drop)
}

/// Without a reload. Returns how long after the LAN has heard it. The node stays away, unless it took too long.
fn a_cut_node_turns_dead_and_its_addresses_move(
    lab: &Lab,
    browser: &Browser<'_>,
    frames: &FrameObserver,
    address: Ipv4Addr,
) -> Result<Duration> {
    let macs = walk::answering_macs(lab, address)?;
    let [mac] = macs[..] else {
        anyhow::bail!("{macs:?} answer for {address}");
    };
    let nodes = lab.nodes();
    let lost = nodes
        .iter()
        .find(|node| node.mac == mac)
        .context("no owner")?;
    let name = &lost.name;
    browser.run(&format!(
        "window.seen = {{}};
         clearInterval(window.looking);
         window.looking = setInterval(() => {{
           const card = (name) => [...document.querySelectorAll('.node')].find((one) => one.querySelector('.name')?.textContent === name);
           if (card('{name}').classList.contains('dead')) seen.dead ??= Date.now();
           const chip = [...document.querySelectorAll('.chip.announced')].find((one) => one.title.startsWith('{address} '));
           const owner = chip?.closest('.node').querySelector('.name').textContent;
           if (owner && owner !== '{name}') {{ seen.moved ??= Date.now(); seen.owner = owner; }}
         }}, 10)"
    ))?;
    let began = (Instant::now(), SystemTime::now());
    lab.cut(name, false)?;
    let taken = |frame: &Frame| {
        frame.at >= began.0 && frame.source != mac && frame.is_gratuitous_for(address)
    };
    let frame = frames.wait_for(taken, Instant::now() + PATIENCE);
    let frame = frame.map_err(|missing| anyhow::anyhow!("nobody took it: {missing:?}"))?;
    let seen = browser.until("return seen.dead && seen.moved && seen.owner ? seen : null")?;
    let unix = began.1.duration_since(UNIX_EPOCH)?;
    let since_cut = |key: &str| -> Result<Duration> {
        let at = Duration::from_millis(seen[key].as_u64().context("no time")?);
        Ok(at.saturating_sub(unix))
    };
    let (dead, moved) = (since_cut("dead")?, since_cut("moved")?);
    let heard = frame.at - began.0;
    let behind = moved.saturating_sub(heard);
    println!(
        "after the cut of {name}: the LAN heard the new owner after {heard:?}, the page showed it after \
         {moved:?} ({behind:?} behind), and {name} dead after {dead:?}"
    );
    let new = nodes.iter().find(|node| node.mac == frame.source);
    ensure!(
        new.is_some_and(|node| seen["owner"] == json!(node.name)),
        "the page has {}, the LAN {:?}",
        seen["owner"],
        frame.source
    );
    ensure!(
        browser.run("return window.isTheSame")? == json!(true),
        "it was loaded anew"
    );
    let told = browser.run("return document.getElementById('moves').innerText")?;
    ensure!(
        told.as_str()
            .unwrap_or_default()
            .contains(&address.to_string()),
        "{told}"
    );
    browser.until(&format!(
        "return document.getElementById('problems').innerText.includes('{name} is held dead')"
    ))?;
    if behind > MOVED {
        lab.heal(name)?;
        browser.until("return !document.querySelector('.node.dead')")?;
    }
    Ok(behind)
}

/// One file, from the disk; and one of 20 nodes with 500 addresses each.
fn a_snapshot_needs_no_server_and_may_be_large(lab: &Lab, pictures: &Path) -> Result<()> {
    let file = |name: &str| -> Result<PathBuf> {
        let file = pictures.join(name);
        if file.exists() {
            fs::remove_file(&file)?;
        }
        Ok(file)
    };
    let snapshot = file("snapshot.html")?;
    let args = ["dashboard", "--snapshot", &snapshot.to_string_lossy()];
    let output = lab.plugin(&args)?;
    ensure!(output.status.success(), "{output:?}");
    let large = file("20x500.html")?;
    fs::write(
        &large,
        synthetic::enlarged(&fs::read_to_string(&snapshot)?, 20, 500)?,
    )?;
    let browser = Browser::start(lab.host(CONTROL_PLANE)?, &["--window-size=1600,1900"])?;
    browser.open(&format!("file://{}", snapshot.display()))?;
    browser.until(DRAWN)?;
    browser.picture(&pictures.join("snapshot.png"))?;
    browser.open(&format!("file://{}", large.display()))?;
    browser.until("return document.querySelectorAll('.node').length >= 20")?;
    browser.picture(&pictures.join("20x500.png"))?;
    // The others may have been interrupted.
    let redraw = browser.run(
        "const once = () => { const begin = performance.now(); drawMap(); drawTable(); return performance.now() - begin };
         return Math.min(...Array.from({ length: 10 }, once))",
    )?;
    let redraw = redraw.as_f64().context("no time")?;
    let elements = browser.run("return document.querySelectorAll('*').length")?;
    println!("20 nodes with 500 addresses each: {redraw:.1} ms a redraw, {elements} elements");
    ensure!(redraw < REDRAW, "{redraw} ms");
    let told = browser.complaints()?;
    ensure!(told.is_empty(), "the console has {told:#?}");
    Ok(())
}
