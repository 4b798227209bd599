//! What the plugin says when something is wrong, and of what others wrote.

use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::daemon::program;
use ferrolb_tests::lab::Lab;
use ferrolb_tests::net::CONTROL_PLANE;

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

    let labels = r#""app.kubernetes.io/name":"ferrolb","app.kubernetes.io/component":"controller""#;
    lab.apply(&format!(
        r#"{{"apiVersion":"v1","kind":"List","items":[
        {{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"tenant"}}}},
        {{"apiVersion":"v1","kind":"Pod",
          "metadata":{{"name":"a-leader","namespace":"tenant","labels":{{{labels}}}}},
          "spec":{{"nodeSelector":{{"nowhere":"at-all"}},
                   "containers":[{{"name":"controller","image":"localhost/none"}}]}}}}]}}"#
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
    until(lab, &["status"], |code, out| code == Some(0) && out.contains("all is well")).map(drop)
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
        ensure!(!out.contains("no other known load balancer"), "{verb}: {out}");
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
        complaints.contains("the API server does not answer")
            && complaints.contains("curl -s http://localhost:7472/status"),
        "{complaints}"
    );
    let took = begun.elapsed();
    ensure!(took < GIVES_UP, "{took:?}");
    Ok(())
}

/// Asks again until the answer is as it should be: what was applied is not decided at once.
fn until(
    lab: &Lab,
    args: &[&str],
    is_right: impl Fn(Option<i32>, &str) -> bool,
) -> Result<String> {
    let mut last = String::new();
    wait::until(Duration::from_secs(30), "the plugin says so", || {
        let output = lab.plugin(args)?;
        last = both(&output).0;
        Ok(is_right(output.status.code(), &last))
    })
    .with_context(|| last.clone())?;
    Ok(last)
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
