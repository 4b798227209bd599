//! `tests/setup` on a machine with Docker, with packages of our own: what it unpacks runs, and what is installed
//! stays as it is. apt-get and dpkg are this machine's; their files are not.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::image::{digest_of, hex};
use ferrolb_tests::tools::Module;
use tempfile::TempDir;

/// Docker's packages as its own archive has them: apt-get would remove both to install Debian's containerd.
/// `hold`: `apt-mark hold`, with which it would refuse.
const DOCKERS: &str = "\
Package: containerd.io
Status: hold ok installed
Architecture: all
Version: 1.7.28-1
Provides: containerd, runc
Conflicts: containerd, runc
Replaces: containerd, runc
Maintainer: Docker
Description: -

Package: docker-ce
Status: install ok installed
Architecture: all
Version: 5:28.5.0-1
Depends: containerd.io (>= 1.7.27)
Conflicts: containerd
Maintainer: Docker
Description: -
";

const PACKAGES: &str = "\
# for  how     package    program
demo   install shell      sh
demo   install unheard-of no-such-program
demo   unpack  containerd containerd
tests  unpack  greeter    greeter
tests  unpack  monitor    /usr/bin/montool
";

#[test]
fn on_a_machine_with_docker_programs_run_from_the_cache_and_no_package_is_touched() -> Result<()> {
    let machine = Machine::new()?;
    machine.setup("tests")?;
    ensure!(machine.run("containerd")? == "containerd, unpacked\n");
    ensure!(
        machine.run("greeter")? == "42\n",
        "with a library that comes along"
    );
    ensure!(machine.run("montool")? == "montool, unpacked\n");
    let mode = fs::metadata(machine.unpacked("usr/bin/containerd"))?
        .permissions()
        .mode();
    ensure!(mode & 0o6000 == 0, "it is setuid: {mode:o}");
    for left_out in ["usr/bin/monitor", "usr/share/doc"] {
        ensure!(!machine.unpacked(left_out).exists(), "{left_out}");
    }
    let now = fs::read_to_string(machine.path("dpkg/status"))?;
    ensure!(now == DOCKERS, "{now}");
    Ok(())
}

#[test]
fn a_second_time_nothing_is_done_until_a_library_is_gone_or_more_is_wanted() -> Result<()> {
    let machine = Machine::new()?;
    let missing = machine.missing("demo")?;
    ensure!(
        missing == "install unheard-of\nunpack containerd\n",
        "{missing}"
    );
    machine.setup("demo")?;
    ensure!(machine.missing("demo")? == "install unheard-of\n");
    let more = machine.missing("tests")?;
    ensure!(more.ends_with("unpack greeter\nunpack monitor\n"), "{more}");
    machine.setup("tests")?;
    // All that the tests need is all that the demo needs. Nothing is fetched, nothing is said.
    fs::remove_dir_all(machine.path("archive"))?;
    for of in ["tests", "demo"] {
        ensure!(machine.setup(of)?.is_empty());
        ensure!(machine.missing(of)? == "install unheard-of\n");
    }
    fs::remove_file(machine.unpacked("usr/lib/x86_64-linux-gnu/libanswer.so"))?;
    ensure!(machine.missing("demo")?.contains("unpack containerd\n"));
    Ok(())
}

#[test]
fn a_server_that_is_ill_for_a_moment_is_asked_again() -> Result<()> {
    let machine = Machine::new()?;
    let programs = machine.path("programs");
    fs::create_dir(&programs)?;
    let write = |name: &str, script: &str| {
        let file = programs.join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}"))?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))
    };
    // Each of its commands fails the first time.
    write(
        "apt-get",
        "for word; do\n\
         case $word in update|install|download)\n\
         echo \"$word\" >>\"$0.asked\"\n\
         [ \"$(grep -c \"$word\" \"$0.asked\")\" -gt 1 ] || exit 100;;\n\
         esac\n\
         done\n\
         exec /usr/bin/apt-get \"$@\"\n",
    )?;
    write("sleep", "")?;
    let path = std::env::var_os("PATH").context("no PATH")?;
    let folders = std::iter::once(programs.clone()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders)?;
    let mut setup = machine.setup_command("tests")?;
    stdout_of(setup.env("PATH", &path), "")?;
    ensure!(machine.run("greeter")? == "42\n");
    ensure!(machine.run("montool")? == "montool, unpacked\n");
    let asked = fs::read_to_string(programs.join("apt-get.asked"))?;
    ensure!(
        asked == "update\nupdate\ninstall\ninstall\ndownload\ndownload\n",
        "{asked}"
    );
    // One that stays so is left alone.
    write("apt-get", "echo asked >>\"$0.asked\"; exit 100\n")?;
    fs::remove_dir_all(machine.cache())?;
    fs::remove_file(programs.join("apt-get.asked"))?;
    let mut setup = machine.setup_command("tests")?;
    ensure!(stdout_of(setup.env("PATH", &path), "").is_err());
    let asked = fs::read_to_string(programs.join("apt-get.asked"))?;
    ensure!(asked.lines().count() == 3, "{asked}");
    Ok(())
}

#[test]
fn who_waits_for_another_setup_does_not_unpack_again() -> Result<()> {
    let machine = Machine::new()?;
    let setups = ["first", "second"].map(|_| {
        let mut setup = machine.setup_command("tests")?;
        setup.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(setup.spawn()?)
    });
    let mut said = String::new();
    for setup in setups {
        let setup: Result<_> = setup;
        let output = setup?.wait_with_output()?;
        ensure!(output.status.success(), "{output:?}");
        said += std::str::from_utf8(&output.stdout)?;
    }
    ensure!(said.matches("unpacking into").count() == 1, "{said}");
    Ok(())
}

#[test]
fn of_the_cache_that_is_removed_which_has_a_name_that_the_lab_gave() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let built = |module: Module| format!("{}-0123456789abcdef", module.name());
    let mut ours: Vec<_> = Module::all().into_iter().map(built).collect();
    ours.extend(
        [
            "debian",
            "images",
            "go-mod",
            "kube-vip-0123456789abcdef.building",
        ]
        .map(str::to_owned),
    );
    let others = [
        "kubernetes-mine",
        "kubernetes-0123456789abcde",
        "notes-0123456789abcdef",
        "debian.txt",
        "notes",
    ]
    .map(str::to_owned);
    for name in ours.iter().chain(&others) {
        fs::create_dir_all(folder.path().join("ferrolb/lab").join(name))?;
    }
    let installed = folder.path().join("ferrolb/lab/installed");
    fs::write(installed, "conntrack\nmusl-tools\n")?;
    let mut list = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("clean-lab"));
    list.arg("--list")
        .env("XDG_CACHE_HOME", folder.path())
        .env("CARGO_TARGET_DIR", folder.path());
    let said = stdout_of(&mut list, "")?;
    let listed = |name: &String| said.contains(&format!("/ferrolb/lab/{name}\n"));
    let left: Vec<_> = ours.iter().filter(|name| !listed(name)).collect();
    ensure!(left.is_empty(), "{left:?} would be left: {said}");
    ensure!(!others.iter().any(listed), "{said}");
    ensure!(
        said.contains("apt-get remove conntrack musl-tools"),
        "{said}"
    );
    Ok(())
}

/// A machine whose packages are Docker's, with an archive of packages.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Result<Self> {
        let machine = Self {
            folder: tempfile::tempdir()?,
        };
        for folder in ["dpkg/info", "dpkg/updates", "apt/lists", "archive"] {
            fs::create_dir_all(machine.path(folder))?;
        }
        fs::write(machine.path("dpkg/status"), DOCKERS)?;
        fs::write(machine.path("packages.txt"), PACKAGES)?;
        machine.build_archive()?;
        let archive = machine.path("archive");
        // `copy`, not `file`: fetched, as from a server.
        let source = format!("deb [trusted=yes] copy:{} ./\n", archive.display());
        fs::write(machine.path("apt/sources.list"), source)?;
        let at = machine.folder.path().display();
        let config = format!(
            "Dir::Etc::sourcelist \"{at}/apt/sources.list\";\n\
             Dir::Etc::sourceparts \"-\";\n\
             Dir::Etc::parts \"-\";\n\
             Dir::State \"{at}/apt\";\n\
             Dir::State::status \"{at}/dpkg/status\";\n\
             Dir::Cache \"{at}/apt\";\n\
             APT::Architectures \"amd64\";\n\
             APT::Sandbox::User \"root\";\n\
             # Whoever installs something fails.\n\
             Dir::Bin::dpkg \"/bin/false\";\n"
        );
        fs::write(machine.path("apt.conf"), config)?;
        Ok(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    fn unpacked(&self, name: &str) -> PathBuf {
        self.cache().join("ferrolb/lab/debian").join(name)
    }

    /// What `tests/setup` says. `unheard-of` is left out of the list: what is installed is this machine's.
    fn setup(&self, of: &str) -> Result<String> {
        stdout_of(&mut self.setup_command(of)?, "")
    }

    fn setup_command(&self, of: &str) -> Result<Command> {
        let list = self.path("to-unpack.txt");
        fs::write(&list, PACKAGES.replace("demo   install unheard-of", "#"))?;
        let mut command = self.command();
        command.arg(of).arg(list);
        Ok(command)
    }

    fn missing(&self, of: &str) -> Result<String> {
        let list = self.path("packages.txt");
        stdout_of(self.command().args(["--missing", of]).arg(list), "")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("setup"));
        command
            .env("XDG_CACHE_HOME", self.cache())
            .env("DPKG_ADMINDIR", self.path("dpkg"))
            .env("APT_CONFIG", self.path("apt.conf"));
        command
    }

    /// What an unpacked program says.
    fn run(&self, program: &str) -> Result<String> {
        let program = self.unpacked("programs").join(program);
        stdout_of(&mut Command::new(program), "")
    }

    fn build_archive(&self) -> Result<()> {
        let script = |name: &str| format!("#!/bin/sh\necho '{name}, unpacked'\n").into_bytes();
        let (program, library) = self.compile()?;
        let mut index = String::new();
        for (name, depends, files) in [
            (
                "containerd",
                "",
                vec![
                    ("usr/bin/containerd", script("containerd")),
                    ("usr/share/doc/containerd/readme", Vec::new()),
                ],
            ),
            (
                "greeter",
                "Depends: libanswer\n",
                vec![("usr/bin/greeter", program)],
            ),
            (
                "libanswer",
                "",
                vec![("usr/lib/x86_64-linux-gnu/libanswer.so", library)],
            ),
            (
                "monitor",
                "Depends: nowhere-to-be-found\n",
                vec![
                    ("usr/bin/montool", script("montool")),
                    ("usr/bin/monitor", script("monitor")),
                ],
            ),
        ] {
            let about = format!(
                "Package: {name}\nArchitecture: amd64\nVersion: 1.0-1\n{depends}Maintainer: -\nDescription: -\n"
            );
            self.pack(name, &about, &files, &mut index)
                .with_context(|| format!("cannot build package {name}"))?;
        }
        fs::write(self.path("archive/Packages"), index)?;
        Ok(())
    }

    fn pack(
        &self,
        name: &str,
        about: &str,
        files: &[(&str, Vec<u8>)],
        index: &mut String,
    ) -> Result<()> {
        let tree = self.path("trees").join(name);
        for (path, content) in files {
            let file = tree.join(path);
            fs::create_dir_all(file.parent().context("no folder")?)?;
            fs::write(&file, content)?;
            // A tree gives nobody rights, whatever a package says.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o4755))?;
        }
        fs::create_dir_all(tree.join("DEBIAN"))?;
        fs::write(tree.join("DEBIAN/control"), about)?;
        let file = format!("{name}_1.0-1_amd64.deb");
        let deb = self.path("archive").join(&file);
        let mut build = Command::new("dpkg-deb");
        build
            .args(["--root-owner-group", "--build"])
            .arg(&tree)
            .arg(&deb);
        stdout_of(&mut build, "")?;
        let (size, digest) = (fs::metadata(&deb)?.len(), hex(digest_of(&deb)?.as_ref()));
        index.push_str(&format!(
            "{about}Filename: ./{file}\nSize: {size}\nSHA256: {digest}\n\n"
        ));
        Ok(())
    }

    /// A program that prints what a shared library says, and this library, which is where no loader looks.
    fn compile(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let (library, program) = (self.path("libanswer.so"), self.path("greeter"));
        let cc = |source: &str, args: &[OsString]| {
            let mut cc = Command::new("cc");
            cc.args(["-x", "c", "-"])
                .args(args)
                .current_dir(self.folder.path());
            stdout_of(&mut cc, source).map(drop)
        };
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        cc(
            "int answer(void) { return 42; }",
            &words(&["-shared", "-fPIC", "-o", "libanswer.so"]),
        )?;
        cc(
            "int printf(const char *, ...); int answer(void); int main(void) { printf(\"%d\\n\", answer()); }",
            &words(&["-x", "none", "libanswer.so", "-o", "greeter"]),
        )?;
        Ok((fs::read(program)?, fs::read(library)?))
    }
}
