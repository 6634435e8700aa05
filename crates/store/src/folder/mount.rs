//! Which file system a folder lies on. Locks, links and renames keep their promises on a local disk only.

use std::path::{Path as FsPath, PathBuf};

/// File systems whose other side is another machine (or may be: a FUSE server can be anything).
/// `fuseblk` is not among them: it is a block device of this machine.
const NETWORK: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "coda",
    "9p",
    "virtiofs",
    "vboxsf",
    "vmhgfs",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "orangefs",
    "glusterfs",
    "gfs2",
    "ocfs2",
    "davfs",
    "drvfs",
    "fuse",
];

/// A line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    pub(super) kind: String,
}

impl Mount {
    /// Whether the other side may be another machine.
    pub(super) fn is_network(&self) -> bool {
        self.kind.starts_with("fuse.") || NETWORK.contains(&self.kind.as_str())
    }
}

/// The mount that a canonical path lies on, `None` where the system has no mount table to read.
pub(super) fn of_path(path: &FsPath) -> Option<Mount> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    find(&table, path)
}

/// The mount of `path` in a table in the form of `/proc/self/mountinfo` (proc(5)): the longest mount point
/// above it, and of equal ones the last, which hides the earlier.
fn find(table: &str, path: &FsPath) -> Option<Mount> {
    table
        .lines()
        .filter_map(parse)
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    Some(Mount {
        point: PathBuf::from(unescaped(before.split(' ').nth(4)?)),
        kind: after.split(' ').next()?.to_owned(),
    })
}

/// Undoes the octal escapes of the table (`\040` is a space).
fn unescaped(field: &str) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt as _;

    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = field.get(at + 1..at + 4);
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (bytes[at], code) {
            (b'\\', Some(code)) => {
                plain.push(code);
                at += 4;
            }
            (byte, _) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    std::ffi::OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r"21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:40 / /home/lab rw shared:2 - nfs4 server:/export rw
31 30 254:1 / /home/lab/local\040disk rw - xfs /dev/vdb rw
32 21 0:41 / /mnt rw - ext4 /dev/vdc rw
33 32 0:42 / /mnt rw - fuse.sshfs me@host:/ rw
34 21 8:1 / /usb rw - fuseblk /dev/sda1 rw";

    #[test]
    fn the_longest_and_then_the_last_mount_point_holds() {
        let kind = |path: &str| find(TABLE, FsPath::new(path)).map(|mount| mount.kind);
        assert_eq!(kind("/data").as_deref(), Some("ext4"));
        assert_eq!(kind("/home/lab/cells").as_deref(), Some("nfs4"));
        assert_eq!(kind("/home/labour").as_deref(), Some("ext4"));
        assert_eq!(kind("/home/lab/local disk/cells").as_deref(), Some("xfs"));
        assert_eq!(kind("/mnt/x").as_deref(), Some("fuse.sshfs"));
    }

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        let is_network = |path: &str| find(TABLE, FsPath::new(path)).unwrap().is_network();
        assert!(is_network("/home/lab"));
        assert!(is_network("/mnt"));
        assert!(!is_network("/usb"));
        assert!(!is_network("/"));
    }
}
