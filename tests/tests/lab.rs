//! The lab itself: it comes up, carries traffic, and leaves nothing behind.
//!
//! Needs root. One at a time (`--test-threads=1`): each starts a control plane.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::hollow::HollowPod;
use ferrolb_tests::lab::{Builder, Lab, NodeKind};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

#[test]
fn a_hollow_lab_has_ready_nodes_and_a_pod_that_serves_the_lan_through_a_node_port() -> Result<()> {
    hollow("nodeport").nodes(2).run(|lab| {
        let ready = lab.api(async |client| {
            let nodes = Api::<Node>::all(client)
                .list(&ListParams::default())
                .await?;
            Ok(nodes.items.iter().filter(|node| is_ready(node)).count())
        })?;
        assert_eq!(ready, 2, "both nodes must be Ready");

        let web = HollowPod::new("web", "n1").label("app", "web");
        let addresses = lab.create_hollow_pod(&web)?;
        assert_eq!(addresses.ipv4.to_string(), "10.244.1.2");
        lab.apply(NODE_PORT)?;
        // Policy Cluster: the pod sees the node that the client asked, as that node's own address
        // on the way to the pod.
        for (node, seen) in [("n1", "10.244.1.1"), ("n2", "192.168.64.12")] {
            let page = from_client(lab, node, PAGE, get)?;
            let expected = format!("pod=web source={seen} ");
            assert!(
                page.starts_with(&expected),
                "{node} answered {page:?}, not {expected:?}"
            );
        }
        let answer = from_client(lab, "n1", ECHO, udp)?;
        assert!(
            answer.starts_with("ping pod=web source=10.244.1.1 "),
            "{answer:?}"
        );

        let n1 = SocketAddr::from((lab.host("n1")?.ipv6, PAGE));
        let page = lab.client()?.enter(|| eventually(|| get(n1)))??;
        assert!(
            page.starts_with("pod=web source=fd00:244:1::1 "),
            "IPv6 answered {page:?}"
        );

        let local = r#"{"spec":{"externalTrafficPolicy":"Local"}}"#;
        lab.kubectl(&["patch", "service", "web", "--patch", local])?;
        let client = format!("pod=web source={} ", lab.client()?.ipv4);
        lab.client()?.enter(|| {
            eventually(|| {
                let page = get(SocketAddr::from((lab.host("n1")?.ipv4, PAGE)))?;
                ensure!(
                    page.starts_with(&client),
                    "policy Local shows {page:?}, not {client:?}"
                );
                Ok(())
            })
        })??;

        lab.delete_hollow_pod(&web)?;
        assert!(
            lab.alive(&web.process_name()).is_none(),
            "its server goes with a pod"
        );
        Ok(())
    })
}

#[test]
fn a_node_that_is_cut_is_silent_and_the_others_are_not() -> Result<()> {
    hollow("cut").nodes(2).run(|lab| {
        lab.create_hollow_pod(&HollowPod::new("web", "n1").label("app", "web"))?;
        lab.apply(NODE_PORT)?;
        for carrier in [false, true] {
            from_client(lab, "n1", PAGE, get)?;
            from_client(lab, "n2", PAGE, get)?;
            lab.cut("n2", carrier)?;
            let n2 = SocketAddr::from((lab.host("n2")?.ipv4, PAGE));
            let silent = lab.client()?.enter(|| get(n2))?;
            assert!(silent.is_err(), "a node that is cut answered {silent:?}");
            from_client(lab, "n1", PAGE, get)?;
            let link = lab
                .host("n2")?
                .command("ip")
                .args(["link", "show", "eth0"])
                .output()?;
            let link = String::from_utf8_lossy(&link.stdout).into_owned();
            assert_eq!(
                link.contains("NO-CARRIER"),
                carrier,
                "with carrier {carrier}: {link}"
            );
            lab.heal("n2")?;
        }
        from_client(lab, "n2", PAGE, get)?;
        Ok(())
    })
}

#[test]
fn a_lab_that_ends_leaves_nothing_behind() -> Result<()> {
    let lab = hollow("ends").start()?;
    let name = lab.name().to_owned();
    assert!(!Left::of(&name).is_nothing(), "a lab that is up is seen");
    drop(lab);
    assert_eq!(Left::of(&name), Left::default());
    Ok(())
}

#[test]
fn two_labs_run_side_by_side_with_the_same_addresses() -> Result<()> {
    let one = hollow("side-a").start()?;
    let two = hollow("side-b").start()?;
    for (lab, pod) in [(&one, "one"), (&two, "two")] {
        lab.create_hollow_pod(&HollowPod::new(pod, "n1").label("app", "web"))?;
        lab.apply(NODE_PORT)?;
    }
    for (lab, pod) in [(&one, "one"), (&two, "two")] {
        let page = from_client(lab, "n1", PAGE, get)?;
        assert!(
            page.starts_with(&format!("pod={pod} ")),
            "{pod} must answer, not {page:?}"
        );
    }
    let name = one.name().to_owned();
    drop(one);
    assert_eq!(Left::of(&name), Left::default());
    assert_eq!(
        two.kubectl(&["get", "pod", "-o", "name"])?.trim(),
        "pod/two"
    );
    Ok(())
}

#[test]
fn the_api_server_can_be_paused_and_stopped_and_goes_on_after() -> Result<()> {
    hollow("apistop").run(|lab| {
        let get_nodes = ["get", "nodes", "-o", "name", "--request-timeout=2s"];
        lab.pause("kube-apiserver")?;
        assert!(
            lab.kubectl(&get_nodes).is_err(),
            "a paused API server answers nothing"
        );
        lab.resume("kube-apiserver")?;
        // It has everybody's requests to answer first.
        assert_eq!(lab.kubectl(&get_nodes[..4])?.trim(), "node/n1");
        lab.stop("kube-apiserver")?;
        assert!(
            lab.kubectl(&["get", "nodes", "--request-timeout=2s"])
                .is_err()
        );
        let error = lab.check_alive("kube-apiserver").unwrap_err().to_string();
        assert!(error.contains("kube-apiserver has ended"), "{error}");
        lab.start("kube-apiserver")?;
        lab.wait_until_ready()?;
        assert_eq!(
            lab.kubectl(&["get", "nodes", "-o", "name"])?.trim(),
            "node/n1"
        );
        Ok(())
    })
}

#[test]
fn what_a_killed_lab_left_is_removed_by_the_next_start() -> Result<()> {
    let (mut owner, name) = other_owner("killed")?;
    // A mount below the lab's state, as containers make them.
    let mounted = format!("/run/ferrolb-lab/{name}/mounted");
    fs::create_dir(&mounted)?;
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "none", &mounted])
        .status()?;
    ensure!(mount.success(), "cannot mount");
    owner.kill()?;
    owner.wait()?;
    let left = Left::of(&name);
    assert!(
        left.state && left.mounts > 0 && left.namespaces > 0,
        "kill -9 cleans nothing: {left:?}"
    );

    let next = hollow("next").start()?;
    assert_eq!(Left::of(&name), Left::default());
    assert!(
        !Left::of(next.name()).is_nothing(),
        "the new lab is not taken for a dead one"
    );
    Ok(())
}

#[test]
fn what_labs_left_that_were_killed_while_they_started_is_removed_by_the_next_start() -> Result<()> {
    let mut names = Vec::new();
    // In the network, in the control plane, in the nodes; on a fast machine perhaps after.
    for milliseconds in [20, 60, 150, 500, 2000] {
        let name = format!("early{milliseconds}-{}", std::process::id());
        let mut owner = Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(["up", "--foreground", "--hollow", "--name", &name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        #[expect(clippy::disallowed_methods, reason = "any moment will do")]
        std::thread::sleep(Duration::from_millis(milliseconds));
        owner.kill()?;
        owner.wait()?;
        names.push(name);
    }
    assert!(
        names.iter().any(|name| Left::of(name).state),
        "at least one must have begun"
    );
    drop(hollow("next").start()?);
    for name in names {
        assert_eq!(Left::of(&name), Left::default(), "of {name}");
    }
    Ok(())
}

#[test]
fn a_signal_removes_the_lab_before_its_owner_dies() -> Result<()> {
    for signal in ["-INT", "-TERM"] {
        let (mut owner, name) = other_owner("signalled")?;
        Command::new("kill")
            .args([signal, &owner.id().to_string()])
            .status()?;
        assert!(owner.wait()?.signal().is_some(), "it dies of the signal");
        assert_eq!(Left::of(&name), Left::default());
    }
    Ok(())
}

#[test]
fn lab_up_leaves_a_lab_that_other_commands_use_until_lab_down() -> Result<()> {
    let name = format!("up-{}", std::process::id());
    let lab = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(["--name", &name])
            .args(args)
            .output()
    };
    let up = lab(&["up", "--hollow", "--like-minikube"])?;
    ensure!(
        up.status.success(),
        "lab up: {}",
        String::from_utf8_lossy(&up.stderr)
    );
    let labels = lab(&[
        "kubectl",
        "get",
        "node",
        "minikube",
        "--show-labels",
        "-o",
        "wide",
    ])?;
    let labels = String::from_utf8_lossy(&labels.stdout).into_owned();
    let address = lab(&["exec", "minikube", "ip", "-4", "address", "show", "eth0"])?;
    let taken = lab(&["up", "--hollow"])?;
    let down = lab(&["down"])?;
    let left = Left::of(&name);

    assert!(
        labels.contains("exclude-from-external-load-balancers"),
        "{labels}"
    );
    assert!(labels.contains("192.168.64.4"), "{labels}");
    assert!(String::from_utf8_lossy(&address.stdout).contains("192.168.64.4/24"));
    assert!(
        String::from_utf8_lossy(&taken.stderr).contains("already up"),
        "a name is used once"
    );
    assert!(
        down.status.success(),
        "lab down: {}",
        String::from_utf8_lossy(&down.stderr)
    );
    assert_eq!(left, Left::default());
    Ok(())
}

#[test]
fn a_daemon_has_the_rights_and_capabilities_that_the_chart_gives_it_and_no_more() -> Result<()> {
    hollow("rights").run(|lab| {
        let dir = tempfile::tempdir()?;
        let idle = dir.path().join("idle");
        fs::write(&idle, "#!/bin/sh\nexec sleep 1000\n")?;
        fs::set_permissions(&idle, fs::Permissions::from_mode(0o755))?;
        let expected = [
            (
                Daemon::controller("cp"),
                "patch services --subresource=status",
                "0000000000000000",
            ),
            (
                Daemon::speaker("n1"),
                "watch endpointslices.discovery.k8s.io",
                "0000000000002000",
            ),
        ];
        for (daemon, its_own, capabilities) in expected {
            let name = lab.start_daemon(&daemon.program(&idle))?;
            let can = |what: &str| {
                let kubeconfig = lab.state().dir().join("kubeconfigs").join(&name);
                let mut kubectl = lab.kubectl_command()?;
                kubectl
                    .arg("--kubeconfig")
                    .arg(kubeconfig)
                    .args(["auth", "can-i", "-A"]);
                let answer = kubectl.args(what.split(' ')).output()?;
                anyhow::Ok(String::from_utf8_lossy(&answer.stdout).trim() == "yes")
            };
            assert!(can(its_own)?, "{name} must be able to {its_own}");
            assert!(
                !can("update nodes")?,
                "{name} must not be able to update nodes"
            );
            assert!(
                !can("list secrets")?,
                "{name} must not be able to list secrets"
            );
            let pid = lab.alive(&name).context("the daemon is gone")?.pid();
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            assert!(
                status.contains(&format!("CapEff:\t{capabilities}")),
                "{name}: {status}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_test_that_fails_keeps_the_logs_of_its_lab() -> Result<()> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab-failures");
    let mut name = String::new();
    let failed: Result<()> = hollow("fails").run(|lab| {
        name = lab.name().to_owned();
        bail!("on purpose")
    });
    assert!(failed.is_err(), "the error is passed on");
    let dir = kept.join(&name);
    for (file, text) in [
        ("nodes.txt", "192.168.64.11"),
        ("kube-apiserver.log", "Serving"),
        ("host-n1.txt", "192.168.64.11/24"),
    ] {
        let kept = fs::read_to_string(dir.join(file)).with_context(|| file.to_owned())?;
        assert!(kept.contains(text), "{file} must have {text:?}:\n{kept}");
    }
    assert_eq!(Left::of(&name), Left::default());
    // Kept for a person, and this failure was none.
    fs::remove_dir_all(&dir)?;
    Ok(())
}

/// A lab with one hollow node.
fn hollow(name: &str) -> Builder {
    Lab::builder(name).nodes(1).kind(NodeKind::Hollow)
}

/// Another process that owns a lab which is up, and the lab's name.
fn other_owner(name: &str) -> Result<(Child, String)> {
    let name = format!("{name}-{}", std::process::id());
    let mut owner = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args([
            "up",
            "--foreground",
            "--hollow",
            "--nodes",
            "1",
            "--name",
            &name,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = BufReader::new(owner.stderr.take().context("no output")?);
    let mut said = stderr.lines().map_while(Result::ok);
    let up = said.any(|line| line.contains("is up"));
    ensure!(up, "the other lab did not come up: {:?}", owner.wait()?);
    // Its standard error must stay open: it has more to say.
    std::thread::spawn(move || said.for_each(drop));
    Ok((owner, name))
}

/// The nodePorts below.
const PAGE: u16 = 31001;
const ECHO: u16 = 31002;

const NODE_PORT: &str = "
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: { app: web }
  ports:
    - { name: tcp, port: 80, targetPort: 3000, nodePort: 31001 }
    - { name: udp, port: 80, targetPort: 3000, nodePort: 31002, protocol: UDP }
";

/// What of a lab can be seen on the machine.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    state: bool,
    namespaces: usize,
    mounts: usize,
    processes: usize,
}

impl Left {
    fn of(name: &str) -> Self {
        let state = format!("/run/ferrolb-lab/{name}");
        let names = |dir: &str| fs::read_dir(dir).into_iter().flatten().flatten();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        // Every process of a lab is told a path in its state, or is in one of its namespaces.
        let told = |pid: &str| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&format!("{state}/"))
        };
        Self {
            state: fs::exists(&state).unwrap_or(true),
            namespaces: names("/run/netns")
                .filter(|entry| {
                    entry
                        .file_name()
                        .to_string_lossy()
                        .starts_with(&format!("fl-{name}-"))
                })
                .count(),
            mounts: mounts
                .lines()
                .filter(|line| line.contains(&format!("{state}/")))
                .count(),
            processes: names("/proc")
                .filter(|entry| told(&entry.file_name().to_string_lossy()))
                .count(),
        }
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|one| one.type_ == "Ready" && one.status == "True")
}

/// Asks a port of a node from the client until it answers.
fn from_client<T: Send>(
    lab: &Lab,
    node: &str,
    port: u16,
    ask: fn(SocketAddr) -> Result<T>,
) -> Result<T> {
    let at = SocketAddr::from((lab.host(node)?.ipv4, port));
    lab.client()?.enter(|| eventually(|| ask(at)))?
}

/// Tries again until it works: kube-proxy programs a new Service after about 1 s, and does not
/// say when.
fn eventually<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let result = attempt();
        if result.is_ok() || Instant::now() > deadline {
            return result;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "nobody tells when kube-proxy is done"
        )]
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn get(at: SocketAddr) -> Result<String> {
    let timeout = Duration::from_millis(500);
    let mut stream = TcpStream::connect_timeout(&at, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer
        .split_once("\r\n\r\n")
        .context("no page")?
        .1
        .trim()
        .to_owned())
}

fn udp(at: SocketAddr) -> Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.send_to(b"ping", at)?;
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
