//! How many calls may be under way: halved when the upstream says it is too much, recovered one by one.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Admits calls.
#[derive(Debug)]
pub struct Limiter {
    state: Mutex<State>,
    /// Wakes the next in the queue when a place may have become free. Whoever takes the place before it
    /// wakes another one when giving it back.
    freed: Notify,
}

#[derive(Debug)]
struct State {
    /// The most that may ever be under way.
    most: f64,
    /// The most that may be under way now.
    limit: f64,
    in_flight: usize,
    /// How often the limit was halved: calls that began before the last time do not halve it again.
    cuts: u64,
}

/// A place among the calls under way; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
    cuts: u64,
}

impl Limiter {
    /// A limiter that lets at most `most` calls be under way; none: as many as come.
    #[must_use]
    pub fn new(most: Option<usize>) -> Arc<Self> {
        let most = most.map_or(f64::INFINITY, |most| most.max(1) as f64);
        let state = State { most, limit: most, in_flight: 0, cuts: 0 };
        Arc::new(Self { state: Mutex::new(state), freed: Notify::new() })
    }

    /// Waits for a place.
    pub async fn acquire(self: &Arc<Self>) -> Permit {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(permit) = self.try_acquire() {
                return permit;
            }
            freed.await;
        }
    }

    fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.lock();
        ((state.in_flight as f64) < state.limit).then(|| {
            state.in_flight += 1;
            Permit { limiter: Arc::clone(self), cuts: state.cuts }
        })
    }

    /// How many may be under way now; infinite when nothing limits them.
    #[must_use]
    pub fn limit(&self) -> f64 {
        self.lock().limit
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The call went well: the limit rises by one for as many of them as it admits.
    pub fn succeeded(&self) {
        let mut state = self.limiter.lock();
        if state.limit < state.most {
            state.limit = (state.limit + 1.0 / state.limit).min(state.most);
            drop(state);
            self.limiter.freed.notify_one();
        }
    }

    /// The upstream said it is too much: the limit becomes half of what was under way. Of a burst of
    /// calls that began together only the first counts.
    pub fn too_much(&self) {
        let mut state = self.limiter.lock();
        if state.cuts == self.cuts {
            state.cuts += 1;
            state.limit = (state.limit.min(state.in_flight as f64) / 2.0).floor().max(1.0);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.lock().in_flight -= 1;
        self.limiter.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn halves_once_per_burst_and_recovers_by_one_per_round() {
        let limiter = Limiter::new(None);
        let mut burst = Vec::new();
        for _ in 0..16 {
            burst.push(limiter.acquire().await);
        }
        burst.iter().for_each(Permit::too_much);
        assert_eq!(limiter.limit(), 8.0);
        drop(burst);
        let later = limiter.acquire().await;
        later.too_much();
        assert_eq!(limiter.limit(), 1.0, "one call under way, halved, is still one");
        later.succeeded();
        assert_eq!(limiter.limit(), 2.0);
        later.succeeded();
        assert_eq!(limiter.limit(), 2.5);
    }

    #[tokio::test]
    async fn a_waiting_call_goes_on_when_a_place_is_free() {
        let limiter = Limiter::new(Some(1));
        let first = limiter.acquire().await;
        let second = tokio::spawn({
            let limiter = Arc::clone(&limiter);
            async move { limiter.acquire().await }
        });
        tokio::task::yield_now().await;
        assert!(limiter.try_acquire().is_none());
        drop(first);
        second.await.unwrap();
        assert!(limiter.try_acquire().is_some());
    }
}
