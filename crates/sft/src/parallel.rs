//! Work done by several threads, results taken in the order of the items.

use std::sync::Mutex;
use std::thread;

/// Items handed out together for every worker: enough that a slow one holds up few others.
const BATCH_PER_WORKER: usize = 8;

/// Does `work` on every item by `workers` threads and gives the results to `sink` in the items' order. What is
/// held at a time is one batch of results, however many items there are.
pub(crate) fn in_order<T: Send, R: Send, E>(
    items: impl IntoIterator<Item = T>,
    workers: usize,
    work: impl Fn(T) -> R + Sync,
    mut sink: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let mut items = items.into_iter();
    loop {
        let batch: Vec<T> = items.by_ref().take(workers.max(1) * BATCH_PER_WORKER).collect();
        if batch.is_empty() {
            return Ok(());
        }
        for result in done(batch, workers, &work) {
            sink(result)?;
        }
    }
}

fn done<T: Send, R: Send>(batch: Vec<T>, workers: usize, work: &(impl Fn(T) -> R + Sync)) -> Vec<R> {
    if workers <= 1 || batch.len() == 1 {
        return batch.into_iter().map(work).collect();
    }
    let workers = workers.min(batch.len());
    let queue = Mutex::new(batch.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let run = || std::iter::from_fn(next).map(|(at, item)| (at, work(item))).collect::<Vec<_>>();
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_number_of_workers() {
        for workers in [0, 1, 2, 7] {
            let mut seen = Vec::new();
            in_order(
                0..100u64,
                workers,
                |n| {
                    // Early items take longest.
                    (0..(100 - n) * 1000).fold(n, |a, b| a ^ b.rotate_left(1));
                    n * 2
                },
                |r| {
                    seen.push(r);
                    Ok::<(), ()>(())
                },
            )
            .unwrap();
            assert_eq!(seen, (0..100).map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_of_the_sink_ends_it() {
        let mut n = 0;
        let outcome = in_order(
            0..,
            2,
            |n: u64| n,
            |_| {
                n += 1;
                if n == 3 { Err("full") } else { Ok(()) }
            },
        );
        assert_eq!((outcome, n), (Err("full"), 3));
    }
}
