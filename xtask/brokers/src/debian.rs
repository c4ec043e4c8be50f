//! RabbitMQ, its Erlang, and kcat: Debian's packages, unpacked into a folder. Nothing is installed, no
//! service is started, and nobody needs to be root.

use crate::fetch::Kit;
use crate::run::{make_folder, run, write};
use crate::{Place, Trouble};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `name=version*`: Debian's own revisions of a version are taken as they come, checked by apt's keys.
const PACKAGES: &str = include_str!("../debian/packages");

const KIT: fn() -> Kit = || Kit {
    name: "debian",
    pins: format!("1\n{PACKAGES}"),
    install,
};

#[derive(Clone, Debug)]
pub struct Debian {
    root: PathBuf,
}

impl Debian {
    /// What was fetched before.
    ///
    /// # Errors
    /// `Absent`, with what is missing.
    pub fn find(place: &Place) -> Result<Self, Trouble> {
        KIT().find(place).map(Self::unpacked_in)
    }

    /// Fetches it if need be.
    ///
    /// # Errors
    /// What can't be had, and why.
    pub fn fetch(place: &Place) -> Result<Self, Trouble> {
        KIT().ensure(place).map(Self::unpacked_in)
    }

    fn unpacked_in(folder: PathBuf) -> Self {
        let root = folder.join("root");
        Self { root }
    }

    /// Of the server and its commands.
    pub(crate) fn rabbitmq_programs(&self) -> PathBuf {
        self.root.join("usr/lib/rabbitmq/bin")
    }

    pub(crate) fn erlang_programs(&self) -> PathBuf {
        erlang(&self.root).join("bin")
    }

    /// kcat, with the libraries that it was made for.
    pub fn kcat(&self) -> Command {
        let mut kcat = Command::new(self.root.join("usr/bin/kcat"));
        kcat.env("LD_LIBRARY_PATH", libraries(&self.root));
        kcat
    }
}

fn erlang(root: &Path) -> PathBuf {
    root.join("usr/lib/erlang")
}

/// `usr/lib/x86_64-linux-gnu`, or as this machine's kind is called.
fn libraries(root: &Path) -> PathBuf {
    let mut entries = fs::read_dir(root.join("usr/lib")).into_iter().flatten();
    let found = entries.find_map(|entry| {
        let path = entry.ok()?.path();
        path.join("librdkafka.so.1").exists().then_some(path)
    });
    found.unwrap_or_else(|| root.join("usr/lib"))
}

fn install(to: &Path) -> Result<(), Trouble> {
    let (packages, root) = (to.join("packages"), to.join("root"));
    make_folder(&packages)?;
    make_folder(&root)?;
    download(to, &packages)?;
    let entries = fs::read_dir(&packages).map_err(|e| Trouble::file(&packages, &e))?;
    for entry in entries {
        let package = entry.map_err(|e| Trouble::file(&packages, &e))?.path();
        run(Command::new("dpkg").arg("-x").arg(package).arg(&root))?;
    }
    move_erlang(&root)?;
    fs::remove_dir_all(&packages).map_err(|e| Trouble::file(&packages, &e))
}

/// By the machine's own lists of packages; if those are missing or outdated, by fresh ones of our own.
fn download(to: &Path, packages: &Path) -> Result<(), Trouble> {
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.current_dir(packages).args(["-qq"]).args(words);
        apt
    };
    let wanted: Vec<&str> = PACKAGES.lines().collect();
    let download = [&["download"], &wanted[..]].concat();
    match run(&mut apt(&download)) {
        Ok(_) => return Ok(()),
        Err(absent @ Trouble::Absent(_)) => return Err(absent),
        Err(Trouble::Failed(_)) => {}
    }
    let lists = to.join("lists");
    make_folder(&lists.join("partial"))?;
    let ours = format!("Dir::State::lists={}/", lists.display());
    let failed = |trouble| match trouble {
        Trouble::Failed(why) => Trouble::Absent(format!(
            "Debian's packages can't be had here (RabbitMQ 3.10 is Debian 12's): {why}"
        )),
        absent @ Trouble::Absent(_) => absent,
    };
    run(&mut apt(&["-o", &ours, "update"])).map_err(failed)?;
    let again = [&["-o", ours.as_str()], &download[..]].concat();
    run(&mut apt(&again)).map_err(failed).map(drop)
}

/// Debian's `erl` knows one folder alone.
fn move_erlang(root: &Path) -> Result<(), Trouble> {
    let home = erlang(root);
    let erl = home.join("bin/erl");
    let text = fs::read_to_string(&erl).map_err(|e| Trouble::file(&erl, &e))?;
    let there = format!("ROOTDIR=\"{}\"", home.display());
    write(&erl, &text.replace("ROOTDIR=/usr/lib/erlang", &there))
}
