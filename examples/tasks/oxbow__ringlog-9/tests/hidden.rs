use ringlog::RingLog;

struct NoTraits(u32);

fn filled(capacity: usize, count: u32) -> RingLog<u32> {
    let mut log = RingLog::new(capacity);
    for n in 1..=count {
        log.push(n);
    }
    log
}

fn all(log: &RingLog<u32>) -> Vec<u32> {
    log.iter().copied().collect()
}

#[test]
fn oldest_first_at_every_position_of_the_ring() {
    for count in 0..20u32 {
        let held: Vec<u32> = (count.saturating_sub(3) + 1..=count).collect();
        assert_eq!(all(&filled(3, count)), held, "after {count} entries");
    }
}

#[test]
fn tail_at_every_position_and_length() {
    for count in 0..12u32 {
        let log = filled(4, count);
        let held = all(&log);
        for n in 0..=4 {
            let from = held.len().saturating_sub(n);
            assert_eq!(log.tail(n).copied().collect::<Vec<_>>(), held[from..], "tail({n}) after {count}");
        }
    }
}

#[test]
fn tail_of_more_than_there_is() {
    assert_eq!(filled(3, 2).tail(10).copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(filled(3, 7).tail(usize::MAX).copied().collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!(filled(3, 0).tail(1).count(), 0);
}

#[test]
fn a_cleared_log_starts_afresh() {
    let mut log = filled(3, 4);
    log.clear();
    assert!(log.is_empty());
    for n in 10..13 {
        assert_eq!(log.push(n), None);
    }
    assert_eq!(log.push(13), Some(10));
    assert_eq!(log.push(14), Some(11));
    assert_eq!(all(&log), [12, 13, 14]);
}

#[test]
fn entries_need_no_traits() {
    let mut log = RingLog::new(1);
    log.push(NoTraits(1));
    log.push(NoTraits(2));
    assert_eq!(log.iter().map(|entry| entry.0).collect::<Vec<_>>(), [2]);
    assert_eq!(log.tail(1).map(|entry| entry.0).collect::<Vec<_>>(), [2]);
}
