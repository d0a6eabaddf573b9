//! How `check`, as the user with the least rights, sees the restore trigger.

use migration::Direction;

use super::{checked, with_all_well};
use crate::support::databases::KINDS;

#[tokio::test]
async fn whether_it_stands_is_in_the_line_of_the_database() {
    for kind in KINDS {
        with_all_well(kind, async |stage| {
            checked(stage, &[]).await.expect(0).says(&["ok    database", "; no restore trigger"]);
            let up = Direction::Up { create_overview_table: false, restore_trigger: true };
            migration::migrate(&stage.database.owner.connection(), up).await.unwrap();
            checked(stage, &[]).await.expect(0).says(&["ok    database", "; restore trigger of version 1"]);
            let off = match kind {
                crate::support::databases::Kind::Postgres => {
                    "ALTER TABLE course_overviews_courseoverview DISABLE TRIGGER course_sharing_restore_v1"
                }
                _ => "DROP TRIGGER course_sharing_restore_v1_insert",
            };
            stage.database.execute(off).await;
            let words = ["warn  database", "incomplete", "course-sharing migrate --restore-trigger"];
            checked(stage, &[]).await.expect(0).says(&words);
        })
        .await;
    }
}
