//! What a power loss leaves of a folder: writes that were not synced are gone.
//!
//! A program runs under `strace`, which tells of every call that changes files. From these calls a [`Disk`] is built,
//! with what is in the page cache and what is on the platter: a file's content reaches it by `fsync` of the file, a
//! name by `fsync` of its folder. After each call power may be lost, and two disks are possible, which are the ends of
//! what a journalling filesystem may leave: [`Loss::Everything`] that was not synced, or [`Loss::Contents`] only, where
//! names were written back by themselves in the order in which they were changed (a file that was renamed before it was
//! synced is empty then).
//!
//! Modes are taken as written with the name; a call that is not understood is a panic, not a disk that is too good.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{ffi::OsStringExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

/// The calls that change files or make changes last.
const TRACED: &str = "openat,open,creat,write,writev,pwrite64,pwritev,pwritev2,copy_file_range,sendfile,splice,\
                      ftruncate,truncate,fallocate,fsync,fdatasync,syncfs,sync,sync_file_range,rename,renameat,renameat2,\
                      link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,mknod,mknodat,chmod,fchmod,\
                      fchmodat,bind";

/// No file of a home is as long; a string that was cut short would be a file that was.
const LONGEST_WRITE: usize = 64 << 20;

/// The command, under a tracer that writes to `trace`.
pub fn traced(command: &Command, trace: &Path) -> Command {
    let mut tracer = Command::new("strace");
    tracer
        .args(["-f", "-y", "-xx", "-z", "--seccomp-bpf", "-qq", "-s", &LONGEST_WRITE.to_string()])
        .arg("-e")
        .arg(format!("trace={TRACED}"))
        .arg("-e")
        .arg("signal=none")
        .arg("-o")
        .arg(trace)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tracer.env(name, value),
            None => tracer.env_remove(name),
        };
    }
    tracer
}

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// All that was not synced.
    Everything,
    /// Contents that were not synced; all names are there.
    Contents,
}

/// One thing at a path: a folder's `content` is unused, a file's `names` too.
#[derive(Debug, Clone, Default)]
struct Node {
    kind: Kind,
    mode: u32,
    content: Vec<u8>,
    synced_content: Vec<u8>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    File,
    Folder,
    /// A pipe or a socket: nothing of it outlives the machine.
    Other,
}

/// A folder, as the page cache has it and as the platter has it.
#[derive(Debug, Clone)]
pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    /// Sockets that were bound through a descriptor of their folder, which is not known therefore.
    sockets: BTreeSet<PathBuf>,
}

/// What a power loss leaves: each file and folder with its mode, and a file's content.
pub type Image = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

impl Disk {
    /// A folder as it lies there, all of it on the platter.
    pub fn of(root: &Path) -> Self {
        let mut disk = Self { root: root.to_owned(), nodes: Vec::new(), sockets: BTreeSet::new() };
        disk.load(root);
        disk
    }

    fn load(&mut self, path: &Path) -> usize {
        let metadata = fs::symlink_metadata(path).expect("it was listed");
        let mode = metadata.permissions().mode() & 0o7777;
        let index = self.nodes.len();
        self.nodes.push(Node { mode, ..Node::default() });
        if metadata.is_dir() {
            let entries = fs::read_dir(path).expect("ours").map(|entry| entry.expect("ours").file_name());
            let names: BTreeMap<PathBuf, usize> =
                entries.map(|name| (PathBuf::from(&name), self.load(&path.join(&name)))).collect();
            let node = &mut self.nodes[index];
            (node.kind, node.synced_names, node.names) = (Kind::Folder, names.clone(), names);
        } else if metadata.is_file() {
            let content = fs::read(path).expect("ours");
            let node = &mut self.nodes[index];
            (node.synced_content, node.content) = (content.clone(), content);
        } else {
            self.nodes[index].kind = Kind::Other;
        }
        index
    }

    /// What power loss leaves now.
    pub fn after(&self, loss: Loss) -> Image {
        let mut image = Image::new();
        self.collect(0, Path::new(""), loss, &mut image);
        image
    }

    fn collect(&self, index: usize, path: &Path, loss: Loss, image: &mut Image) {
        let node = &self.nodes[index];
        match node.kind {
            Kind::Other => {}
            Kind::File => {
                image.insert(path.to_owned(), (node.mode, Some(node.synced_content.clone())));
            }
            Kind::Folder => {
                image.insert(path.to_owned(), (node.mode, None));
                let names = if loss == Loss::Everything { &node.synced_names } else { &node.names };
                for (name, child) in names {
                    self.collect(*child, &path.join(name), loss, image);
                }
            }
        }
    }

    /// Takes in one line of a trace. Answers whether it changed anything here.
    pub fn take(&mut self, line: &str) -> bool {
        let Some(call) = Call::parse(line) else { return false };
        let path = |index| self.within(&call.path(index));
        let at = |folder| self.within(&call.path_at(folder));
        match call.name {
            "openat" => self.open(at(0), call.args[2], call.args.get(3).copied()),
            "open" | "creat" => panic!("not expected of a Rust program: {line}"),
            "write" => self.write(path(0), None, &call.bytes(1), call.result()),
            "pwrite64" => self.write(path(0), Some(call.number(3)), &call.bytes(1), call.result()),
            "fsync" | "fdatasync" => self.sync(path(0)),
            "syncfs" | "sync" => {
                (0..self.nodes.len()).for_each(|index| self.sync_node(index));
                true
            }
            "ftruncate" => self.truncate(path(0), call.number(1)),
            "rename" => self.rename(at_cwd(&call, 0, &self.root), at_cwd(&call, 1, &self.root)),
            "renameat" | "renameat2" => self.rename(at(0), at(2)),
            "link" => self.link(at_cwd(&call, 0, &self.root), at_cwd(&call, 1, &self.root)),
            "linkat" => self.link(at(0), at(2)),
            "unlink" | "rmdir" => self.unlink(at_cwd(&call, 0, &self.root)),
            "unlinkat" => self.unlink(at(0)),
            "mkdir" => self.make(at_cwd(&call, 0, &self.root), Kind::Folder, call.octal(1)),
            "mkdirat" => self.make(at(0), Kind::Folder, call.octal(2)),
            "mknodat" => self.make(at(0), Kind::Other, 0),
            "mknod" => self.make(at_cwd(&call, 0, &self.root), Kind::Other, 0),
            "chmod" => self.chmod(at_cwd(&call, 0, &self.root), call.octal(1)),
            "fchmod" => self.chmod(path(0), call.octal(1)),
            "fchmodat" => self.chmod(at(0), call.octal(2)),
            "bind" => self.bind(call.socket()),
            _ if call.args.iter().all(|arg| self.within(&first_path(arg)).is_none()) => false,
            other => panic!("{other} is not understood here: {line}"),
        }
    }

    /// The path below the root; `None` elsewhere, and for what has no name any more.
    fn within(&self, path: &Path) -> Option<PathBuf> {
        let text = path.to_str()?;
        if text.ends_with(" (deleted)") {
            return None;
        }
        path.strip_prefix(&self.root).ok().map(Path::to_owned)
    }

    fn find(&self, path: &Path) -> Option<usize> {
        path.iter().try_fold(0, |index, name| self.nodes[index].names.get(Path::new(name)).copied())
    }

    fn parent(&mut self, path: &Path) -> (&mut Node, PathBuf) {
        let name = path.file_name().unwrap_or_else(|| panic!("{} has no name", path.display()));
        let folder = path.parent().expect("it has a name");
        let index = self.find(folder).unwrap_or_else(|| panic!("{} is in no folder", path.display()));
        (&mut self.nodes[index], PathBuf::from(name))
    }

    fn make(&mut self, path: Option<PathBuf>, kind: Kind, mode: u32) -> bool {
        let Some(path) = path else { return false };
        let index = self.nodes.len();
        self.nodes.push(Node { kind, mode, ..Node::default() });
        let (folder, name) = self.parent(&path);
        folder.names.insert(name, index);
        true
    }

    fn bind(&mut self, address: Option<PathBuf>) -> bool {
        let Some(address) = address else { return false };
        match self.within(&address) {
            Some(path) => self.make(Some(path), Kind::Other, 0),
            None => {
                self.sockets.extend(address.file_name().map(PathBuf::from));
                false
            }
        }
    }

    fn open(&mut self, path: Option<PathBuf>, flags: &str, mode: Option<&str>) -> bool {
        let Some(path) = path else { return false };
        let has = |flag: &str| flags.split('|').any(|found| found == flag);
        assert!(!has("O_TMPFILE"), "a file without a name is not understood here: {}", path.display());
        match self.find(&path) {
            None if has("O_CREAT") => {
                let mode = mode.map_or(0o600, |mode| u32::from_str_radix(mode, 8).expect("modes are octal"));
                self.make(Some(path), Kind::File, mode)
            }
            Some(index) if has("O_TRUNC") => {
                self.nodes[index].content.clear();
                true
            }
            _ => false,
        }
    }

    fn write(&mut self, path: Option<PathBuf>, at: Option<usize>, bytes: &[u8], written: usize) -> bool {
        let Some(index) = path.and_then(|path| self.find(&path)) else { return false };
        let node = &mut self.nodes[index];
        if node.kind != Kind::File {
            return false;
        }
        let bytes = &bytes[..written];
        // Files are written from their start to their end, or appended to; what is written elsewhere says where.
        let at = at.unwrap_or(node.content.len());
        let end = at + bytes.len();
        node.content.resize(node.content.len().max(end), 0);
        node.content[at..end].copy_from_slice(bytes);
        true
    }

    fn truncate(&mut self, path: Option<PathBuf>, length: usize) -> bool {
        let Some(index) = path.and_then(|path| self.find(&path)) else { return false };
        self.nodes[index].content.resize(length, 0);
        true
    }

    fn sync(&mut self, path: Option<PathBuf>) -> bool {
        let Some(index) = path.and_then(|path| self.find(&path)) else { return false };
        self.sync_node(index);
        true
    }

    fn sync_node(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.synced_content = node.content.clone();
        node.synced_names = node.names.clone();
    }

    fn rename(&mut self, from: Option<PathBuf>, to: Option<PathBuf>) -> bool {
        let (Some(from), Some(to)) = (&from, &to) else {
            assert!(from.is_none() && to.is_none(), "renamed over the border: {from:?} to {to:?}");
            return false;
        };
        let (folder, name) = self.parent(from);
        let Some(index) = folder.names.remove(&name) else {
            assert!(self.sockets.contains(&name), "{} is not there", from.display());
            return self.make(Some(to.clone()), Kind::Other, 0);
        };
        let (folder, name) = self.parent(to);
        folder.names.insert(name, index);
        true
    }

    fn link(&mut self, from: Option<PathBuf>, to: Option<PathBuf>) -> bool {
        let (Some(from), Some(to)) = (from, to) else { return false };
        let index = self.find(&from).unwrap_or_else(|| panic!("{} is not there", from.display()));
        let (folder, name) = self.parent(&to);
        folder.names.insert(name, index);
        true
    }

    fn unlink(&mut self, path: Option<PathBuf>) -> bool {
        let Some(path) = path else { return false };
        let (folder, name) = self.parent(&path);
        folder.names.remove(&name).is_some()
    }

    fn chmod(&mut self, path: Option<PathBuf>, mode: u32) -> bool {
        let Some(index) = path.and_then(|path| self.find(&path)) else { return false };
        self.nodes[index].mode = mode;
        true
    }
}

/// Puts an image into a folder that is there, and empty.
pub fn put(image: &Image, folder: &Path) {
    for (path, (mode, content)) in image {
        let place = folder.join(path);
        match content {
            Some(content) => fs::write(&place, content).expect("the folder is ours"),
            None if path.as_os_str().is_empty() => {}
            None => fs::create_dir(&place).expect("the folder is ours"),
        }
        fs::set_permissions(&place, fs::Permissions::from_mode(*mode)).expect("the folder is ours");
    }
}

fn at_cwd(call: &Call, index: usize, root: &Path) -> Option<PathBuf> {
    let path = PathBuf::from(std::ffi::OsString::from_vec(call.bytes(index)));
    assert!(path.is_absolute(), "a relative path is not understood here: {}", path.display());
    path.strip_prefix(root).ok().map(Path::to_owned)
}

/// One line of a trace: `PID name(arguments) = result`.
struct Call<'a> {
    name: &'a str,
    args: Vec<&'a str>,
    result: &'a str,
}

impl<'a> Call<'a> {
    /// `None` for lines about something else.
    fn parse(line: &'a str) -> Option<Self> {
        let (_, call) = line.trim_start().split_once(' ')?;
        let (call, result) = call.rsplit_once(" = ")?;
        let (name, args) = call.trim_start().trim_end().strip_suffix(')')?.split_once('(')?;
        Some(Self { name, args: args.split(", ").collect(), result })
    }

    fn result(&self) -> usize {
        self.result.split(['<', ' ']).next().and_then(|number| number.parse().ok()).expect("a count")
    }

    fn number(&self, index: usize) -> usize {
        self.args[index].parse().unwrap_or_else(|error| panic!("{}: {error}", self.args[index]))
    }

    fn octal(&self, index: usize) -> u32 {
        u32::from_str_radix(self.args[index], 8)
            .unwrap_or_else(|error| panic!("{}: {error}", self.args[index]))
    }

    /// What a quoted argument says.
    fn bytes(&self, index: usize) -> Vec<u8> {
        let quoted = self.args[index];
        assert!(!quoted.ends_with("..."), "the trace cut a string short");
        unescaped(quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("a string"))
    }

    /// The path of a socket's address.
    fn socket(&self) -> Option<PathBuf> {
        let quoted = self.args.iter().find_map(|arg| arg.strip_prefix("sun_path=\""))?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(unescaped(quoted.split('"').next()?))))
    }

    /// The path of a descriptor.
    fn path(&self, index: usize) -> PathBuf {
        first_path(self.args[index])
    }

    /// The path of a folder's descriptor and a name after it.
    fn path_at(&self, folder: usize) -> PathBuf {
        let name = PathBuf::from(std::ffi::OsString::from_vec(self.bytes(folder + 1)));
        self.path(folder).join(name)
    }
}

/// What stands in the angle brackets behind a descriptor.
fn first_path(arg: &str) -> PathBuf {
    let path = arg.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    PathBuf::from(std::ffi::OsString::from_vec(unescaped(path)))
}

/// `\x2f\x74…`; what is not escaped stands for itself.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    while let Some(first) = rest.first() {
        let escaped = rest.strip_prefix(b"\\x").and_then(|hex| hex.get(..2));
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = &rest[if byte.is_some() { 4 } else { 1 }..];
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a folder after each call of a shell that runs this script in it.
    fn losses(script: &str, loss: Loss) -> Vec<Image> {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::write(home.join("state"), "old").unwrap();
        let mut disk = Disk::of(&home);
        let mut shell = Command::new("sh");
        shell.args(["-ec", script, "sh"]).arg(&home);
        let trace = folder.path().join("trace");
        assert!(traced(&shell, &trace).status().unwrap().success());
        let trace = fs::read_to_string(trace).unwrap();
        let mut images = Vec::new();
        for line in trace.lines() {
            if disk.take(line) {
                images.push(disk.after(loss));
            }
        }
        images
    }

    fn state(image: &Image) -> Option<&[u8]> {
        image.get(Path::new("state"))?.1.as_deref()
    }

    #[test]
    fn a_replacement_that_was_synced_is_old_or_new_and_never_in_between() {
        let script = "cd /; echo new > $1/t; sync $1/t; mv $1/t $1/state; sync $1";
        for loss in [Loss::Everything, Loss::Contents] {
            let images = losses(script, loss);
            assert!(images.len() >= 4, "{images:?}");
            assert!(images.iter().all(|image| [Some(&b"old"[..]), Some(b"new\n")].contains(&state(image))));
            assert_eq!(state(images.last().unwrap()), Some(&b"new\n"[..]));
        }
    }

    #[test]
    fn a_replacement_that_was_not_synced_is_lost_or_empty() {
        let script = "cd /; echo new > $1/t; mv $1/t $1/state";
        assert_eq!(state(losses(script, Loss::Everything).last().unwrap()), Some(&b"old"[..]));
        assert_eq!(state(losses(script, Loss::Contents).last().unwrap()), Some(&b""[..]));
    }
}
