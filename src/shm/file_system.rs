//! On which file systems a ring can live, and what each of them is like.
//!
//! A ring needs two things of its file system. All shared mappings of a file on one host are one
//! memory, at every instant. And locks on it are kept by the kernel of this host, tied to the open
//! file: they are what proves a death. A file system that lacks one of them does not say so: it
//! loses items, or takes the living for dead. So a ring lives where both are known to hold
//! ([`FIT`]), and nowhere else: there is always another cluster file system that no list of the
//! unfit has. Who knows better says so ([`Options::trust_unknown_file_systems`]); for those that
//! are known to be unfit ([`UNFIT`]) nobody can.
//!
//! [`Options::trust_unknown_file_systems`]: crate::Options::trust_unknown_file_systems
//!
//! Not among the fit for a reason of its own: FAT and exFAT know no hard links, and a ring gets its
//! name by one. Read-only file systems never come here: their files cannot be opened for writing.

use std::os::fd::BorrowedFd;

use rustix::fs::fstatfs;

use crate::error::{Failed, Step};

/// What a file on a file system is made of, and how one knows that all of it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Memory that can be swapped out. Blocks are counted to the page, those swapped out included.
    Memory,
    /// Memory that cannot be swapped out.
    Ram,
    /// Pages of the reserved pool, counted to the page.
    HugePages,
    /// Blocks of a disk that stay where they are, once they are allocated. Their number includes
    /// what describes them, so it may hide a small hole; it never shows one that is not there.
    Blocks,
    /// Blocks that are written anew elsewhere, and perhaps compressed: their number says nothing,
    /// and to have reserved them promises little.
    Copies,
}

/// The numbers are those of `linux/magic.h` and of the file systems' own sources.
const FIT: [(u32, Storage); 12] = [
    (0x0102_1994, Storage::Memory),    // tmpfs, memfds, devtmpfs
    (0x8584_58f6, Storage::Ram),       // ramfs
    (0x9584_58f6, Storage::HugePages), // hugetlbfs
    (0x0000_ef53, Storage::Blocks),    // ext2, ext3, ext4
    (0x5846_5342, Storage::Blocks),    // XFS
    (0x3153_464a, Storage::Blocks),    // JFS
    (0x5265_4973, Storage::Blocks),    // ReiserFS
    (0x9123_683e, Storage::Copies),    // btrfs
    (0xf2f5_2010, Storage::Copies),    // F2FS
    (0x2fc1_2fc1, Storage::Copies),    // ZFS
    (0xca45_1a4e, Storage::Copies),    // bcachefs
    (0x0000_3434, Storage::Copies),    // NILFS2
];

/// Known not to be fit. Network and cluster file systems: other hosts write behind our back, or
/// keep the locks. FUSE and what a hypervisor shares: a program stands behind every page. Layers
/// (overlayfs, aufs): what is mapped is another file than the one that was locked. The kernel's own
/// (proc, sysfs): no storage at all.
const UNFIT: [(u32, &str); 24] = [
    (0x794c_7630, "overlayfs"),
    (0x6175_6673, "aufs"),
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "kAFS"),
    (0x7375_7245, "Coda"),
    (0x0000_564c, "NCP"),
    (0x786f_4256, "VirtualBox shared folders"),
    (0x0000_9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
];

/// The file system that a file lies on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileSystem {
    magic: u32,
    /// In bytes, of its files' mappings.
    page: usize,
}

/// Why no ring is to live there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// `None`: nothing is known of it.
    pub(crate) kind: Option<&'static str>,
    pub(crate) magic: u32,
}

impl FileSystem {
    pub(crate) fn of(fd: BorrowedFd<'_>) -> Result<Self, Failed> {
        let stat = fstatfs(fd).map_err(|e| Step::FileSystem.failed(e))?;
        // The type's width differs between architectures; the numbers are 32 bits everywhere.
        let magic = stat.f_type as u32;
        let page = match storage(magic) {
            Storage::HugePages => stat.f_bsize as usize,
            _ => rustix::param::page_size(),
        };
        Ok(Self { magic, page })
    }

    /// Whether a ring may live here. `trusting`: also on one of which nothing is known.
    pub(crate) fn admit(self, trusting: bool) -> Result<(), Refused> {
        admit(self.magic, trusting)
    }

    pub(crate) fn storage(self) -> Storage {
        storage(self.magic)
    }

    /// What is in a file outlives the machine's going down.
    pub(crate) fn is_on_disk(self) -> bool {
        matches!(self.storage(), Storage::Blocks | Storage::Copies)
    }

    /// What lengths of mappings must be a multiple of: a power of two.
    pub(crate) fn page(self) -> usize {
        self.page
    }
}

fn admit(magic: u32, trusting: bool) -> Result<(), Refused> {
    let unfit = UNFIT.iter().find_map(|&(number, name)| (number == magic).then_some(name));
    let known = FIT.iter().any(|&(number, _)| number == magic);
    if known || (trusting && unfit.is_none()) {
        return Ok(());
    }
    Err(Refused { kind: unfit, magic })
}

/// Of one that is not known, the least is assumed.
fn storage(magic: u32) -> Storage {
    let known = FIT.iter().find_map(|&(number, storage)| (number == magic).then_some(storage));
    known.unwrap_or(Storage::Copies)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_system_is_fit_or_unfit_and_not_both() {
        let fit = FIT.iter().map(|&(magic, _)| magic);
        let unfit = UNFIT.iter().map(|&(magic, _)| magic);
        let all: BTreeSet<u32> = fit.clone().chain(unfit.clone()).collect();
        assert_eq!(all.len(), FIT.len() + UNFIT.len(), "one is there twice");
        assert!(fit.clone().all(|magic| admit(magic, false).is_ok()));
        for magic in unfit {
            for trusting in [false, true] {
                let refused = admit(magic, trusting).unwrap_err();
                assert!(refused.kind.is_some() && refused.magic == magic);
            }
        }
    }

    #[test]
    fn one_of_which_nothing_is_known_is_refused_unless_it_is_trusted() {
        let unknown = 0x0bad_cafe;
        assert_eq!(admit(unknown, false), Err(Refused { kind: None, magic: unknown }));
        assert_eq!(admit(unknown, true), Ok(()));
        // What one may rely on there is the least.
        assert_eq!(storage(unknown), Storage::Copies);
    }

    /// What `rustix` and the headers behind it agree on with this table.
    #[test]
    fn the_numbers_are_the_kernels() {
        let fit = |magic| admit(magic, false) == Ok(());
        assert!(fit(libc::TMPFS_MAGIC as u32) && fit(libc::HUGETLBFS_MAGIC as u32));
        assert!(fit(libc::EXT4_SUPER_MAGIC as u32) && fit(libc::XFS_SUPER_MAGIC as u32));
        assert!(fit(libc::BTRFS_SUPER_MAGIC as u32) && fit(libc::F2FS_SUPER_MAGIC as u32));
        assert!(fit(libc::NILFS_SUPER_MAGIC as u32) && fit(libc::REISERFS_SUPER_MAGIC as u32));
        for (name, magic) in [
            ("overlayfs", libc::OVERLAYFS_SUPER_MAGIC as u32),
            ("NFS", libc::NFS_SUPER_MAGIC as u32),
            ("SMB", libc::SMB_SUPER_MAGIC as u32),
            ("FUSE", libc::FUSE_SUPER_MAGIC as u32),
            ("OCFS2", libc::OCFS2_SUPER_MAGIC as u32),
            ("AFS", libc::AFS_SUPER_MAGIC as u32),
            ("Coda", libc::CODA_SUPER_MAGIC as u32),
            ("NCP", libc::NCP_SUPER_MAGIC as u32),
            ("proc", libc::PROC_SUPER_MAGIC as u32),
            ("sysfs", libc::SYSFS_MAGIC as u32),
            ("cgroup", libc::CGROUP_SUPER_MAGIC as u32),
            ("cgroup2", libc::CGROUP2_SUPER_MAGIC as u32),
        ] {
            assert_eq!(admit(magic, false).unwrap_err().kind, Some(name));
        }
        for other in [libc::MSDOS_SUPER_MAGIC, libc::MINIX_SUPER_MAGIC, libc::HPFS_SUPER_MAGIC] {
            assert_eq!(admit(other as u32, false).unwrap_err().kind, None);
        }
    }
}
