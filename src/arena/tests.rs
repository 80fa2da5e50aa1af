//! The arena: ranges of their own, memory that comes back, and failures that keep nothing.

use super::*;
use parking_lot::Mutex;
use rustix::fs::fstat;
use std::fs::File;

fn blocks(arena: &Arena) -> u64 {
    let stat = fstat(&arena.file).expect("it is open");
    u64::try_from(stat.st_blocks).expect("not negative") * 512
}

fn octets(length: usize, of: u8) -> Vec<Bytes> {
    let all: Vec<u8> = (0..length)
        .map(|at| of.wrapping_add(u8::try_from(at % 251).unwrap_or(0)))
        .collect();
    all.chunks(30_000).map(Bytes::copy_from_slice).collect()
}

fn store(arena: &Arc<Arena>, length: usize, of: u8) -> FileRange {
    let pieces = octets(length, of).into_iter();
    arena
        .store(pieces, length as u64, ())
        .expect("there is memory")
}

fn read(range: &FileRange) -> Vec<u8> {
    range.clone().pieces().flatten().collect()
}

#[test]
fn ranges_keep_their_own_octets_until_the_last_holder_is_gone() {
    let arena = Arena::new().expect("the system has such files");
    let lengths = [1, 4096, 4097, 100_000, 3 << 20];
    let ranges: Vec<_> = (0u8..)
        .zip(lengths)
        .map(|(of, length)| store(&arena, length, of))
        .collect();
    for ((of, length), range) in (0u8..).zip(lengths).zip(&ranges) {
        assert_eq!(range.length(), length as u64);
        assert!(read(range) == octets(length, of).concat(), "{length}");
    }
    let pages: u64 = lengths
        .iter()
        .map(|length| (*length as u64).next_multiple_of(page()))
        .sum();
    assert_eq!(blocks(&arena), pages);
    let counted: u64 = lengths
        .iter()
        .map(|length| Arena::bytes_for(*length as u64))
        .sum();
    assert!(counted > pages && counted < pages + pages / 100 + 5 * 2000);

    let part = ranges[3].slice(10..20);
    drop(ranges);
    assert_eq!(blocks(&arena), 100_000u64.next_multiple_of(page()));
    assert_eq!(read(&part), octets(100_000, 3).concat()[10..20]);
    drop(part);
    assert_eq!(blocks(&arena), 0);
}

#[test]
fn parts_of_a_range() {
    let arena = Arena::new().expect("the system has such files");
    let (range, all) = (store(&arena, 200_000, 7), octets(200_000, 7).concat());
    assert!(read(&range.slice(0..u64::MAX)) == all);
    assert!(read(&range.slice(199_999..300_000)) == all[199_999..]);
    assert!(range.slice(200_000..300_000).is_empty() && range.slice(9..9).is_empty());
    let mut part = range.slice(1000..150_000).slice(500..100_000);
    assert_eq!(read(&part), all[1500..101_000]);
    part.advance(99_000);
    assert_eq!(read(&part), all[100_500..101_000]);
    part.advance(u64::MAX);
    assert!(part.is_empty() && read(&part).is_empty());
    // What is read at once is bounded.
    assert_eq!(range.read().expect("it is there").len(), PIECE);
}

/// Tells when it is dropped, and what the file held then.
struct Witness(Arc<Arena>, Arc<Mutex<Option<u64>>>);

impl Drop for Witness {
    fn drop(&mut self) {
        *self.1.lock() = Some(blocks(&self.0));
    }
}

#[test]
fn what_goes_with_a_range_goes_behind_its_memory() {
    let arena = Arena::new().expect("the system has such files");
    let seen = Arc::default();
    let witness = Witness(Arc::clone(&arena), Arc::clone(&seen));
    let range = arena
        .store(octets(50_000, 0).into_iter(), 50_000, witness)
        .expect("there is memory");
    assert_eq!(*seen.lock(), None);
    drop(range);
    assert_eq!(*seen.lock(), Some(0));
}

#[test]
fn a_failure_keeps_nothing() {
    // A file that has no room.
    let full = Arena::of(
        File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux has it")
            .into(),
    );
    let seen = Arc::default();
    let witness = Witness(Arc::clone(&full), Arc::clone(&seen));
    let error = full
        .store(octets(10, 0).into_iter(), 10, witness)
        .expect_err("it is full");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(seen.lock().is_some());

    let arena = Arena::new().expect("the system has such files");
    for promised in [99_999, 100_001, u64::MAX] {
        let stored = arena.store(octets(100_000, 0).into_iter(), promised, ());
        assert!(stored.is_err(), "{promised}");
        assert_eq!(blocks(&arena), 0);
    }
    // No address is used twice, so one day there is none left.
    let last = i64::MAX.unsigned_abs() / arena.stride * arena.stride - arena.stride;
    arena.next.store(last, Ordering::Relaxed);
    let range = store(&arena, 10, 0);
    let error = arena
        .store(octets(10, 0).into_iter(), 10, ())
        .expect_err("it was the last");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(read(&range), octets(10, 0).concat());
}

/// The ranges of two threads are not of one address, and both are filled.
#[test]
fn threads_share_it() {
    let arena = Arena::new().expect("the system has such files");
    std::thread::scope(|scope| {
        for of in 0..4 {
            let arena = &arena;
            scope.spawn(move || {
                for length in [70_000, 5000, 300_000] {
                    let range = store(arena, length, of);
                    assert!(read(&range) == octets(length, of).concat());
                }
            });
        }
    });
    assert_eq!(blocks(&arena), 0);
}

/// A process that we start has no part in it.
#[test]
fn no_child_inherits_it() {
    let arena = Arena::new().expect("the system has such files");
    let flags = rustix::io::fcntl_getfd(&arena.file).expect("it is open");
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn large_pages_are_noticed() {
    let settings = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let directory = settings.path().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("shmem_enabled"), text).expect("written");
    };
    assert!(!makes_large_pages(&settings.path().join("nothing")));
    write("", "always within_size advise [never] deny force\n");
    write(
        "hugepages-64kB",
        "always inherit within_size advise [never]\n",
    );
    write(
        "hugepages-2048kB",
        "always [inherit] within_size advise never\n",
    );
    assert!(!makes_large_pages(settings.path()));
    write(
        "hugepages-64kB",
        "[always] inherit within_size advise never\n",
    );
    assert!(makes_large_pages(settings.path()));
    write(
        "hugepages-64kB",
        "always inherit within_size advise [never]\n",
    );
    write("", "always [within_size] advise never deny force\n");
    assert!(makes_large_pages(settings.path()));
}

/// What was queued in a socket before the range was given back arrives as it was.
#[test]
fn what_is_queued_in_a_socket_outlives_the_range() {
    use std::io::Read;
    let arena = Arena::new().expect("the system has such files");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let near =
        std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (mut far, _) = listener.accept().expect("it connects");
    near.set_nonblocking(true).expect("it is open");
    let range = store(&arena, 1 << 20, 3);
    let mut left = range.clone();
    while let Ok(n) = left.send(&near, usize::MAX) {
        left.advance(n as u64);
        if left.is_empty() {
            break;
        }
    }
    let sent = range.length() - left.length();
    assert!(sent > 0);
    drop((range, left));
    assert_eq!(blocks(&arena), 0);
    // Its pages may be had by somebody else by now, if they were let go.
    let others: Vec<_> = (0..8).map(|of| store(&arena, 1 << 20, 100 + of)).collect();
    drop(near);
    let mut arrived = Vec::new();
    far.read_to_end(&mut arrived).expect("it is open");
    assert_eq!(arrived.len() as u64, sent);
    assert!(octets(1 << 20, 3).concat().starts_with(&arrived));
    drop(others);
}
