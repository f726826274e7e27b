//! In what a ring of messages differs from the kernel's packets, and why.

use std::io::{ErrorKind, Read, Write};

use ringpipe::MessageError;

use super::like::{MpmcRing, PIPE_BUF, PacketFifo, Packets};
use super::pair;
use crate::differences::{Difference, show};
use crate::support::tests;

tests!(each_difference_of_the_table_of_packets_shows);

const TABLE: &[Difference] = &[
    Difference {
        what: "a message that the reader's buffer is too small for",
        kernel: "cut off, and the rest is lost",
        here: "refused with its length, and kept",
        because: "nothing is lost unsaid",
        shown: too_small,
    },
    Difference {
        what: "a message of no bytes",
        kernel: "is none",
        here: "is one",
        because: "an end-of-file is told in another way than by nothing",
        shown: empty,
    },
    Difference {
        what: "a message of more than PIPE_BUF bytes",
        kernel: "becomes several",
        here: "is one, up to half of the ring; a longer one is refused",
        because: "what was sent as one is received as one, or not at all",
        shown: long,
    },
    Difference {
        what: "the room that a short message takes",
        kernel: "a page",
        here: "its length and eight bytes, rounded up to a granule",
        because: "pages are the kernel's unit, granules the ring's",
        shown: room,
    },
];

fn each_difference_of_the_table_of_packets_shows() {
    show(TABLE);
}

fn too_small() {
    let (_pipe, mut reader, mut writer) = pair::<PacketFifo>();
    writer.write_all(b"too long").unwrap();
    writer.write_all(b"next").unwrap();
    let mut into = [0; 4];
    assert_eq!(reader.read(&mut into).unwrap(), 4);
    assert_eq!(reader.read(&mut into).unwrap(), 4);
    assert_eq!(&into, b"next");

    let (_pipe, mut reader, mut writer) = pair::<MpmcRing>();
    writer.send(b"too long").unwrap();
    assert_eq!(reader.recv_into(&mut into), Err(MessageError::TooSmall { len: 8 }));
    assert_eq!(MpmcRing::read(&mut reader, true).unwrap().unwrap(), b"too long");
}

fn empty() {
    let (_pipe, mut reader, mut writer) = pair::<PacketFifo>();
    assert_eq!(writer.write(b"").unwrap(), 0);
    let none = PacketFifo::read(&mut reader, false).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WouldBlock);

    let (_pipe, mut reader, mut writer) = pair::<MpmcRing>();
    writer.send(b"").unwrap();
    assert_eq!(MpmcRing::read(&mut reader, false).unwrap().unwrap(), b"");
}

fn long() {
    let (_pipe, mut reader, mut writer) = pair::<PacketFifo>();
    writer.write_all(&[1; PIPE_BUF + 1]).unwrap();
    let lens = [(); 2].map(|()| PacketFifo::read(&mut reader, true).unwrap().unwrap().len());
    assert_eq!(lens, [PIPE_BUF, 1]);

    let (_pipe, mut reader, mut writer) = pair::<MpmcRing>();
    let most = writer.max_len();
    writer.send(&vec![1; most]).unwrap();
    assert_eq!(MpmcRing::read(&mut reader, true).unwrap().unwrap().len(), most);
    let refused = MpmcRing::write(&mut writer, &vec![1; most + 1], true).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

fn room() {
    fn fits<P: Packets>(writer: &mut P::Writer) -> usize {
        (0..).find(|_| P::write(writer, b"x", false).is_err()).unwrap()
    }
    let (_pipe, _reader, mut writer) = pair::<PacketFifo>();
    let pages = rustix::pipe::fcntl_getpipe_size(&writer).unwrap() / PIPE_BUF;
    assert_eq!(fits::<PacketFifo>(&mut writer), pages);
    let (_pipe, _reader, mut writer) = pair::<MpmcRing>();
    assert_eq!(fits::<MpmcRing>(&mut writer), 8 * PIPE_BUF / 64);
}
