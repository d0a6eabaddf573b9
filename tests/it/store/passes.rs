//! The row of a pass belongs to whichever process wrote it last.

use course_sharing::store::{PassKind, StoreError, Verdict};

use crate::support::databases::{KINDS, TestDatabase};

#[tokio::test]
async fn a_pass_that_another_process_took_up_and_ended_stays_as_that_one_left_it() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let mut stalled = store.begin_pass(PassKind::Full, 100).await.unwrap();
        store.save_pass(&mut stalled).await.unwrap();
        let mut taken_up = store.last_passes(None, 1).await.unwrap().remove(0);
        assert_eq!(taken_up, stalled, "{kind:?}");
        store.save_pass(&mut taken_up).await.unwrap();
        stalled.listed = 7;
        let late = store.save_pass(&mut stalled.clone()).await;
        assert!(matches!(late, Err(StoreError::PassTakenOver { .. })), "{kind:?}: {late:?}");
        taken_up.verdict = Verdict::Complete;
        taken_up.finished_at = Some(store.now().await.unwrap());
        store.save_pass(&mut taken_up).await.unwrap();
        let late = store.save_pass(&mut stalled).await;
        assert!(matches!(late, Err(StoreError::PassTakenOver { .. })), "{kind:?}: {late:?}");
        assert_eq!(store.last_passes(None, 1).await.unwrap(), [taken_up], "{kind:?}");
        database.drop().await;
    }
}
