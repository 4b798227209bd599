//! What each command does.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ferrolb_core::wire::Message;
use ferrolb_tests::book;
use ferrolb_tests::control_plane::Placement;
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::demo;
use ferrolb_tests::echo;
use ferrolb_tests::image::{Architecture, digest_of, hex, id_of, sbom};
use ferrolb_tests::kubernetes::Version;
use ferrolb_tests::lab::{Lab, NodeKind, Plan};
use ferrolb_tests::lifetime;
use ferrolb_tests::manifests;
use ferrolb_tests::net::Network;
use ferrolb_tests::observe::pcap;
use ferrolb_tests::progress::{Progress, readable};
use ferrolb_tests::reference;
use ferrolb_tests::release::{self as releases, Registry};
use ferrolb_tests::state::{State, lab_names, remove_dead_labs, remove_lab};
use ferrolb_tests::tools::Tools;
use ferrolb_tests::walk;

use crate::args::{Args, Command as Verb, Component, UpArgs};

fn book() -> Result<()> {
    let input = std::io::read_to_string(std::io::stdin()).context("cannot read mdBook's input")?;
    let book = book::preprocess(&input)?;
    std::io::stdout()
        .write_all(book.as_bytes())
        .context("cannot answer mdBook")
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let name = &args.name;
    match args.command {
        Verb::Up(up) => start(name, &up)?,
        Verb::Demo => demo::run()?,
        Verb::Lifetime => lifetime::run(&std::env::current_exe()?)?,
        Verb::Down { all } => down(name, all)?,
        Verb::Status => status()?,
        Verb::Exec { host, command } => return exec(name, &host, &command),
        Verb::Kubectl { args } => {
            return become_command(Lab::attach(name)?.kubectl_command()?, &args);
        }
        Verb::Helm { args } => return become_command(Lab::attach(name)?.helm_command()?, &args),
        Verb::Cut { host, carrier } => Lab::attach(name)?.cut(&host, carrier)?,
        Verb::Heal { host } => Lab::attach(name)?.heal(&host)?,
        Verb::Stop {
            process,
            kill: true,
        } => Lab::attach(name)?.kill(&process)?,
        Verb::Stop {
            process,
            kill: false,
        } => Lab::attach(name)?.stop(&process)?,
        Verb::Start { process } => Lab::attach(name)?.start(&process)?,
        Verb::Daemon {
            component,
            host,
            args,
        } => daemon(name, component, &host, &args)?,
        Verb::Logs { process, follow } => return logs(name, process.as_deref(), follow),
        Verb::Decode { file } => decode(&file)?,
        Verb::Build => drop(Tools::ensure(&NodeKind::Real.modules(Version::chosen()?))?),
        Verb::Load => Lab::attach(name)?.load_images(&walk::images()?)?,
        Verb::Images { directory } => images(&directory)?,
        Verb::Manifests { directory } => manifests::write(&directory)?,
        Verb::Reference { directory } => reference::write(&directory)?,
        Verb::Book { args } if args.is_empty() => book()?,
        Verb::Book { .. } => {}
        Verb::Release { tag } => release(tag.as_deref())?,
        Verb::Push {
            registry,
            plain_http,
        } => push(&registry, plain_http)?,
        Verb::ServeEcho {
            pod,
            port,
            addresses,
        } => echo::serve(&pod, &addresses, port)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn start(name: &str, args: &UpArgs) -> Result<()> {
    let began = Instant::now();
    let progress = Progress::Shown;
    progress.say(format_args!("starting lab {name}"));
    let builder = Lab::builder(name)
        .nodes(args.nodes)
        .kind(if args.hollow {
            NodeKind::Hollow
        } else {
            NodeKind::Real
        })
        .like_minikube(args.like_minikube)
        .progress(progress);
    let builder = match args.proxy {
        Some(proxy) => builder.proxy(proxy),
        None => builder,
    };
    let builder = match args.kubernetes {
        Some(version) => builder.kubernetes(version),
        None => builder,
    };
    let builder = match args.control_plane_on_nodes {
        true => builder.control_plane(Placement::OnNodes),
        false => builder,
    };
    let lab = match args.foreground {
        true => builder.named_exactly().start()?,
        false => builder.detached().start()?,
    };
    progress.say(format_args!(
        "lab {name} is up, {} in all\n",
        readable(began.elapsed())
    ));
    print(&hosts_of(lab.network()))?;
    let option = if name == "lab" {
        String::new()
    } else {
        format!(" --name {name}")
    };
    let end = if args.foreground {
        "Ctrl-C".to_owned()
    } else {
        format!("`lab{option} down`")
    };
    progress.say(format_args!(
        "\ntry `lab{option} kubectl get nodes`; end it with {end}"
    ));
    if !args.foreground {
        return Ok(());
    }
    loop {
        // The signal that ends this process removes the lab first.
        std::thread::park();
    }
}

fn down(name: &str, all: bool) -> Result<()> {
    if !all {
        return Progress::Shown.step(format_args!("removing lab {name}"), || remove_lab(name));
    }
    for (dead, removed) in remove_dead_labs()? {
        removed?;
        Progress::Shown.say(format_args!("  removed what lab {dead} had left"));
    }
    for name in lab_names() {
        // A lab that a test owns is the test's to remove.
        if State::open(&name).is_ok_and(|state| state.is_detached()) {
            Progress::Shown.step(format_args!("removing lab {name}"), || remove_lab(&name))?;
        }
    }
    Ok(())
}

fn decode(file: &Path) -> Result<()> {
    let capture = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let frames = pcap::read(&capture).with_context(|| file.display().to_string())?;
    let start = frames.first().map(|(time, _)| *time).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    for (time, frame) in frames {
        let seconds = time.saturating_sub(start).as_secs_f64();
        match Message::parse(frame) {
            Ok(message) => writeln!(out, "{seconds:10.6} {message}")?,
            Err(reason) => writeln!(out, "{seconds:10.6} {reason}")?,
        }
    }
    Ok(())
}

/// A folder for each architecture, and the digests of all that is in them.
fn images(directory: &Path) -> Result<()> {
    let mut sums = String::new();
    let mut table = format!("{:<34}{:<7}{:>9}  ID\n", "IMAGE", "FOR", "BYTES");
    for architecture in Architecture::ALL {
        let folder = Path::new(architecture.oci());
        std::fs::create_dir_all(directory.join(folder))
            .with_context(|| format!("cannot create {}", directory.join(folder).display()))?;
        for (component, image) in walk::published(architecture)? {
            let archive = folder.join(format!("{component}.tar"));
            let packed = image.pack()?;
            let bytes = std::fs::copy(&packed, directory.join(&archive))
                .with_context(|| format!("cannot write {}", archive.display()))?;
            table.push_str(&format!(
                "{:<34}{:<7}{bytes:>9}  {}\n",
                image.reference(),
                architecture.oci(),
                id_of(&packed)?
            ));
            let bill = folder.join(format!("{component}.cdx.json"));
            let contents = sbom(&package_of(component), architecture)?;
            let contents = serde_json::to_string_pretty(&contents)?;
            std::fs::write(directory.join(&bill), contents + "\n")
                .with_context(|| format!("cannot write {}", bill.display()))?;
            for file in [archive, bill] {
                let digest = hex(digest_of(&directory.join(&file))?.as_ref());
                sums.push_str(&format!("{digest}  {}\n", file.display()));
            }
        }
    }
    // As `sha256sum --check` reads it.
    let path = directory.join("SHA256SUMS");
    std::fs::write(&path, &sums).with_context(|| format!("cannot write {}", path.display()))?;
    print(&format!(
        "{table}\nall in {}, with digests of the files in SHA256SUMS\n",
        directory.display()
    ))
}

fn release(tag: Option<&str>) -> Result<()> {
    let folder = releases::folder();
    let listing = releases::make(&folder, tag)?;
    print(&format!("{listing}\nall in {}\n", folder.display()))
}

fn push(place: &str, plain_http: bool) -> Result<()> {
    let registry = Registry {
        place,
        plain_http,
        command: &|program| Command::new(program),
    };
    print(&registry.push(&releases::folder())?)
}

/// The cargo package that a program comes from.
fn package_of(component: &str) -> String {
    match component {
        "walk-app" => component.to_owned(),
        daemon => format!("ferrolb-{daemon}"),
    }
}

fn status() -> Result<()> {
    let mut text = String::new();
    for name in lab_names() {
        let Ok(state) = State::open(&name) else {
            text.push_str(&format!("{name}: starting or half removed\n"));
            continue;
        };
        let keeper = if state.is_detached() {
            "until `lab down`"
        } else {
            "owned by a process"
        };
        text.push_str(&format!(
            "{name}: {keeper}, state in {}\n",
            state.dir().display()
        ));
        if let Ok(plan) = state.read_json::<Plan>("lab.json") {
            text.push_str(&hosts_of(&plan.network));
        }
        for record in state.processes() {
            let now = match record.id {
                Some(id) if id.is_alive() => format!("pid {}", id.pid()),
                Some(_) => "ended by itself".to_owned(),
                None => "stopped".to_owned(),
            };
            text.push_str(&format!("  {:<32} {now}\n", record.spec.name));
        }
    }
    if text.is_empty() {
        text.push_str("no lab is up\n");
    }
    print(&text)
}

fn hosts_of(network: &Network) -> String {
    network
        .hosts()
        .iter()
        .map(|host| format!("  {:<10} {:<16} {}\n", host.name, host.ipv4, host.ipv6))
        .collect()
}

fn exec(name: &str, host: &str, command: &[String]) -> Result<ExitCode> {
    let lab = Lab::attach(name)?;
    let [program, args @ ..] = command else {
        bail!("no command to run")
    };
    let mut command = lab.host(host)?.command(program);
    command.env("KUBECONFIG", lab.kubeconfig());
    become_command(command, args)
}

fn daemon(name: &str, component: Component, host: &str, args: &[String]) -> Result<()> {
    let daemon = match component {
        Component::Controller => Daemon::controller(host),
        Component::Speaker => Daemon::speaker(host),
    };
    let daemon = args.iter().fold(daemon, |daemon, arg| daemon.arg(arg));
    let process = Lab::attach(name)?.start_daemon(&daemon)?;
    Progress::Shown.say(format_args!("{process} started, see `lab logs {process}`"));
    Ok(())
}

fn logs(name: &str, process: Option<&str>, follow: bool) -> Result<ExitCode> {
    let state = State::open(name)?;
    let Some(process) = process else {
        let names: String = state
            .processes()
            .iter()
            .map(|record| format!("{}\n", record.spec.name))
            .collect();
        print(&names)?;
        return Ok(ExitCode::SUCCESS);
    };
    let log = state.log(process);
    if !Path::new(&log).exists() {
        bail!("no process named {process}: `lab logs` lists them");
    }
    let mut command = Command::new("tail");
    command
        .args(["-n", "+1"])
        .args(follow.then_some("-F"))
        .arg(log);
    become_command(command, &[])
}

/// Goes on as another program: its terminal, exit code and signals are then its own.
fn become_command(mut command: Command, args: &[String]) -> Result<ExitCode> {
    let error = command.args(args).exec();
    Err(error).with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))
}

fn print(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write")
}
