-- The least rights that the program works with: ops/ROLLOUT.md says more. After the migration, as MySQL grants
-- rights on a table's columns only where there is a table.
CREATE USER IF NOT EXISTS 'course_sharing'@'%' IDENTIFIED BY 'throw-away-worker';
GRANT SELECT (id, marketing_url, social_sharing_url), UPDATE (marketing_url)
  ON edxapp.course_overviews_courseoverview TO 'course_sharing'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON edxapp.course_sharing_ledger TO 'course_sharing'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON edxapp.course_sharing_reconcile TO 'course_sharing'@'%';
GRANT SELECT, INSERT, UPDATE ON edxapp.course_sharing_lease TO 'course_sharing'@'%';
GRANT SELECT, INSERT, UPDATE ON edxapp.course_sharing_hint TO 'course_sharing'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON edxapp.course_sharing_blank TO 'course_sharing'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON edxapp.course_sharing_failure TO 'course_sharing'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON edxapp.course_sharing_dead_letter TO 'course_sharing'@'%';
GRANT SELECT, INSERT, DELETE ON edxapp.course_sharing_change TO 'course_sharing'@'%';
GRANT SELECT ON edxapp.course_sharing_migrations TO 'course_sharing'@'%';
