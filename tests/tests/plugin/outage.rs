//! What the plugin says when something is wrong, and of what others wrote.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::control_plane::{API_SERVER, user_kubeconfig};
use ferrolb_tests::daemon::program;
use ferrolb_tests::lab::Lab;
use ferrolb_tests::net::CONTROL_PLANE;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::{PATIENCE, answering_macs};
use serde_json::Value;

/// Asking a daemon that is cut off ends after 2 s, or as soon as the others say that it is dead; one after
/// the other it was 10 s.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Text of others is shown and does not act, and their pods are not believed.
pub(crate) fn other_peoples_text_and_pods_do_no_harm(lab: &Lab) -> Result<()> {
    let hostile = "harmless\\u001b[2J\\u001b]0;PWNED\\u0007\\nall is well";
    lab.apply(&format!(
        r#"{{"apiVersion":"v1","kind":"Event","metadata":{{"name":"hostile","namespace":"default"}},
        "involvedObject":{{"kind":"Service","namespace":"default","name":"test-lb","uid":"{}"}},
        "type":"Normal","reason":"x","message":"{hostile}","lastTimestamp":"2026-01-01T00:00:00Z"}}"#,
        lab.kubectl(&["get", "service", "test-lb", "-o", "jsonpath={.metadata.uid}"])?.trim(),
    ))?;
    let told = plugin_on_a_terminal(lab, &["explain", "svc/test-lb"])?;
    let told = String::from_utf8(told.stdout)?;
    ensure!(
        told.contains(r"harmless\u001b[2J\u001b]0;PWNED\u0007 all is well"),
        "{told}"
    );
    ensure!(
        !told.contains("\u{1b}[2J") && !told.contains('\u{7}'),
        "{told:?}"
    );

    lab.kubectl(&["create", "namespace", "tenant"])?;
    // Pods are refused until it has one.
    let account = ["-n", "tenant", "get", "serviceaccount", "default"];
    wait_until(PATIENCE, || Ok(lab.kubectl(&account).is_ok()), || Ok(()))
        .context("the namespace has no service account")?;
    let labels = r#""app.kubernetes.io/name":"ferrolb","app.kubernetes.io/component":"controller""#;
    lab.apply(&format!(
        r#"{{"apiVersion":"v1","kind":"Pod",
          "metadata":{{"name":"a-leader","namespace":"tenant","labels":{{{labels}}}}},
          "spec":{{"nodeSelector":{{"nowhere":"at-all"}},
                   "containers":[{{"name":"controller","image":"localhost/none"}}]}}}}"#
    ))?;
    let status = lab.plugin(&["status"])?;
    let (out, complaints) = both(&status);
    ensure!(status.status.code() == Some(0), "{status:?}");
    ensure!(!out.contains("a-leader"), "{out}");
    ensure!(
        complaints.contains("ignoring pods with FerroLB's labels in namespace tenant"),
        "{complaints}"
    );
    lab.kubectl(&["delete", "namespace", "tenant", "--wait=false"])?;
    Ok(())
}

/// Of a node that is off the LAN `status` and `check` say so, although the API server calls its pods ready.
pub(crate) fn a_node_that_is_cut_off_is_named_at_once(lab: &Lab) -> Result<()> {
    let nodes = lab.nodes();
    let lost = &nodes.last().context("no node")?.name;
    lab.cut(lost, false)?;
    let told = outage_is_told(lab, lost);
    lab.heal(lost)?;
    told
}

/// A node whose speakers' port is blocked goes on announcing: it is named for that, and not called dead.
pub(crate) fn a_node_that_cannot_be_heard_is_not_called_dead(
    lab: &Lab,
    announced: Ipv4Addr,
) -> Result<()> {
    let macs = answering_macs(lab, announced)?;
    let nodes = lab.nodes();
    let unheard = nodes.iter().find(|node| macs == [node.mac]);
    let unheard = unheard.context("nobody announces it alone")?;
    unheard.block_peers()?;
    let told = blocking_is_told(lab, &unheard.name);
    unheard.unblock_peers()?;
    told?;
    until(lab, &["status"], |code, out| {
        code == Some(0) && !out.contains("peer_blocked")
    })
}

fn blocking_is_told(lab: &Lab, unheard: &str) -> Result<()> {
    let named = format!("{unheard}: peer_blocked: ");
    for verb in ["status", "check"] {
        // The other speakers find it out, and settle who announces, within seconds.
        until(lab, &[verb], |code, out| {
            let is_alone = out.matches(": peer_blocked: ").count() == 1;
            let wrong = ["is held dead", "announced by nobody", "is announced by"];
            code == Some(1)
                && out.contains(&named)
                && is_alone
                && !wrong.iter().any(|wrong| out.contains(wrong))
        })?;
    }
    let output = lab.plugin(&["status", "-o", "json"])?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let addresses = told["addresses"].as_array().context("no addresses")?;
    ensure!(!addresses.is_empty(), "{told}");
    for address in addresses {
        let by = address["nodes"].as_array().map(Vec::len);
        ensure!(
            address["state"] == "announced" && by == Some(1),
            "{address}"
        );
    }
    let mut nodes = told["nodes"].as_array().into_iter().flatten();
    ensure!(nodes.all(|node| node["state"] == "live"), "{told}");
    Ok(())
}

/// Silence on purpose is a note, and an annotation that names no pool is a problem.
pub(crate) fn what_is_wanted_and_what_is_wrong_are_told_apart(lab: &Lab) -> Result<()> {
    lab.apply(
        r#"{"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"Service",
         "metadata":{"name":"lost","namespace":"default",
                     "annotations":{"metallb.universe.tf/address-pool":"nowhere"}},
         "spec":{"type":"LoadBalancer","selector":{"nothing":"at-all"},"ports":[{"port":80}]}}]}"#,
    )?;
    let status = until(lab, &["status"], |code, out| {
        code == Some(1) && out.contains("unknown_pool: default/lost without an address")
    });
    lab.kubectl(&["delete", "service", "lost"])?;
    status?;
    until(lab, &["status"], |code, out| {
        code == Some(0) && out.contains("all is well")
    })?;

    // No pod has that label as well.
    select(lab, r#""at-all""#)?;
    let silent = until(lab, &["status"], |code, out| {
        code == Some(0)
            && out.contains("note: announced by nobody: ")
            && out.contains("no_endpoint")
    });
    select(lab, "null")?;
    silent?;
    until(lab, &["status"], |code, out| {
        code == Some(0) && !out.contains("no_endpoint")
    })
}

/// The Service test-lb selects pods by one label more; null takes it away again.
fn select(lab: &Lab, value: &str) -> Result<()> {
    let patch = format!(r#"{{"spec":{{"selector":{{"nothing":{value}}}}}}}"#);
    lab.kubectl(&["patch", "service", "test-lb", "-p", &patch])?;
    Ok(())
}

/// Without a configuration `init` proposes one, and leaves out a host that is there.
pub(crate) fn a_first_configuration_leaves_out_hosts_that_are_there(lab: &Lab) -> Result<()> {
    let refused = lab.plugin(&["init"])?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(both(&refused).1.contains("already"), "{refused:?}");
    let namespace = ["-n", "metallb-system"];
    let map = lab.kubectl(
        &[
            &["get", "configmap", "config", "-o", "yaml"][..],
            &namespace,
        ]
        .concat(),
    )?;
    lab.kubectl(&[&["delete", "configmap", "config"][..], &namespace].concat())?;
    let proposed = proposal(lab);
    lab.apply(&map)?;
    proposed?;
    until(lab, &["status"], |code, out| {
        code == Some(0) && out.contains("all is well")
    })
}

/// The speakers and the controller go on with what was in force.
fn proposal(lab: &Lab) -> Result<()> {
    let there = lab.client()?.ipv4;
    let [a, b, c, d] = there.octets();
    let (before, behind) = (Ipv4Addr::new(a, b, c, d - 1), Ipv4Addr::new(a, b, c, d + 1));
    let range = format!("{before}-{behind}");
    let output = lab.plugin(&["init", "--range", &range, "-o", "json"])?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let addresses = &answer["addresses"];
    let is_in = |address: Ipv4Addr| addresses.to_string().contains(&format!("\"{address}\""));
    ensure!(!is_in(there), "{answer}");
    let taken = answer["taken"].to_string();
    ensure!(taken.contains(&there.to_string()), "{answer}");
    let manifest = answer["manifest"].as_str().context("no manifest")?;
    ensure!(!manifest.contains(&format!("{there}/32")), "{manifest}");
    Ok(())
}

/// On a terminal of 80 columns it draws, and ends with q; what it drew on is given back.
pub(crate) fn the_live_view_draws_on_a_terminal(lab: &Lab) -> Result<()> {
    let program = program("kubectl-ferrolb")?;
    let inner = format!("stty cols 80 rows 24; {} top", program.display());
    let mut command = lab.host(CONTROL_PLANE)?.command("script");
    let mut child = command
        .args(["--quiet", "--return", "--command", &inner, "/dev/null"])
        .env("KUBECONFIG", lab.kubeconfig())
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run script")?;
    let mut keys = child.stdin.take().context("no input")?;
    let mut screen = child.stdout.take().context("no output")?;
    let mut drawn = Vec::new();
    let mut part = [0; 4096];
    let mut has_ended = false;
    loop {
        let length = screen.read(&mut part)?;
        if length == 0 {
            break;
        }
        drawn.extend_from_slice(&part[..length]);
        if !has_ended && String::from_utf8_lossy(&drawn).contains("[q]uit") {
            keys.write_all(b"q")?;
            has_ended = true;
        }
    }
    let status = child.wait()?;
    let drawn = String::from_utf8_lossy(&drawn);
    ensure!(status.success(), "{status}: {drawn:?}");
    ensure!(
        drawn.contains("NODE") && drawn.contains("ADDRESS"),
        "{drawn:?}"
    );
    // The other screen, and back.
    ensure!(
        drawn.contains("\u{1b}[?1049h") && drawn.contains("\u{1b}[?1049l"),
        "{drawn:?}"
    );
    Ok(())
}

/// Without any right there is one line and no answer; what cannot be read is not called well.
pub(crate) fn without_rights_nothing_is_called_well(lab: &Lab) -> Result<()> {
    let kubeconfig = user_kubeconfig(lab, "nobody-at-all", None)?;
    for verb in ["status", "services", "pools", "check"] {
        let program = program("kubectl-ferrolb")?;
        let mut command = lab.host(CONTROL_PLANE)?.command(&program.to_string_lossy());
        let output = command.env("KUBECONFIG", &kubeconfig).arg(verb).output()?;
        let (out, complaints) = both(&output);
        ensure!(output.status.code() == Some(2), "{verb}: {output:?}");
        ensure!(!out.contains("all is well"), "{verb}: {out}");
        ensure!(
            !out.contains("no other known load balancer"),
            "{verb}: {out}"
        );
        for text in [&out, &complaints] {
            ensure!(!text.contains("Status {"), "no debug output: {text}");
        }
        ensure!(complaints.lines().count() <= 1, "{verb}: {complaints}");
    }
    Ok(())
}

/// The API server hangs, then is down: one line within the read time-out, which says what is left.
pub(crate) fn an_api_server_that_hangs_or_is_down_is_one_line(lab: &Lab) -> Result<()> {
    lab.pause(API_SERVER)?;
    let hangs = unreachable_is_told(lab);
    lab.resume(API_SERVER)?;
    hangs?;
    lab.kill(API_SERVER)?;
    let down = unreachable_is_told(lab);
    lab.start(API_SERVER)?;
    lab.wait_until_ready()?;
    down
}

/// Connecting and reading give up after 10 s each.
const GIVES_UP: Duration = Duration::from_secs(25);

fn unreachable_is_told(lab: &Lab) -> Result<()> {
    let begun = Instant::now();
    let output = lab.plugin(&["status"])?;
    let (out, complaints) = both(&output);
    ensure!(output.status.code() == Some(2), "{output:?}");
    ensure!(out.is_empty(), "{out}");
    ensure!(complaints.lines().count() == 1, "{complaints}");
    ensure!(
        complaints.contains("the API server at https://")
            && complaints.contains(" does not answer (")
            && complaints.contains("curl -s http://localhost:7472/status"),
        "{complaints}"
    );
    let took = begun.elapsed();
    ensure!(took < GIVES_UP, "{took:?}");
    Ok(())
}

/// Asks again until the answer is as it should be: what was applied is not decided at once.
fn until(lab: &Lab, args: &[&str], is_right: impl Fn(Option<i32>, &str) -> bool) -> Result<()> {
    let last = RefCell::new(String::new());
    let is_done = || {
        let output = lab.plugin(args)?;
        let (out, _) = both(&output);
        let is_done = is_right(output.status.code(), &out);
        *last.borrow_mut() = out;
        Ok(is_done)
    };
    wait_until(Duration::from_secs(30), is_done, || Ok(()))
        .with_context(|| format!("{args:?}: {}", last.borrow()))
}

fn outage_is_told(lab: &Lab, lost: &str) -> Result<()> {
    for verb in ["status", "check"] {
        let begun = Instant::now();
        let output = lab.plugin(&[verb])?;
        let took = begun.elapsed();
        let (out, _) = both(&output);
        ensure!(output.status.code() == Some(1), "{verb}: {output:?}");
        ensure!(
            out.contains(&format!("{lost} is held dead")),
            "{verb}: {out}"
        );
        ensure!(!out.contains("all is well"), "{verb}: {out}");
        ensure!(took < AT_ONCE, "{verb} took {took:?}");
    }
    Ok(())
}

fn both(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// What would reach a terminal: escapes are not taken out.
fn plugin_on_a_terminal(lab: &Lab, args: &[&str]) -> Result<Output> {
    let program = program("kubectl-ferrolb")?;
    let mut command = lab.host(CONTROL_PLANE)?.command(&program.to_string_lossy());
    command.env("KUBECONFIG", lab.kubeconfig());
    command.env("CLICOLOR_FORCE", "1");
    command.args(args).output().context("cannot run the plugin")
}
