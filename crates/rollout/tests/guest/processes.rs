use crate::helper::start;
use trajgen_rollout::environment::Exec;

#[tokio::test]
async fn everything_left_is_listed_signalled_and_killed() {
    let helper = start().await;
    let line = "for n in 1 2 3; do (setsid sleep 2000$n >/dev/null 2>&1 &); done; \
        (setsid bash -c 'trap \"\" TERM; while :; do sleep 20009; done' >/dev/null 2>&1 &) ; true";
    helper.guest.exec(Exec::shell(line)).await.unwrap();
    loop {
        let listed = helper.guest.processes().await.unwrap();
        if (1..=3).all(|n| listed.iter().any(|process| process.command == format!("sleep 2000{n}"))) {
            break;
        }
    }
    assert!(helper.guest.signal_all(0xffff).await.is_err());
    helper.guest.signal_all(15).await.unwrap();
    helper.guest.kill_all().await.unwrap();
    assert_eq!(helper.guest.processes().await.unwrap(), []);
}

#[tokio::test]
async fn a_process_that_keeps_starting_others_is_ended() {
    let helper = start().await;
    let line =
        "(setsid bash -c 'for n in {1..40}; do (while :; do sleep 0.001 & wait; done) & done; wait' &)";
    helper.guest.exec(Exec::shell(line)).await.unwrap();
    while helper.guest.processes().await.unwrap().len() < 20 {}
    helper.guest.kill_all().await.unwrap();
    assert_eq!(helper.guest.processes().await.unwrap(), []);
}
