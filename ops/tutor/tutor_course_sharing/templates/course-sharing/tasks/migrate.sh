# The worker's own tables, made by a user who may. It waits 5 s at most for the LMS's transactions.
export COURSE_SHARING_DATABASE__URL={{ ("mysql://" ~ (MYSQL_ROOT_USERNAME | course_sharing_url) ~ ":" ~ (MYSQL_ROOT_PASSWORD | course_sharing_url) ~ "@" ~ MYSQL_HOST ~ ":" ~ MYSQL_PORT ~ "/" ~ OPENEDX_MYSQL_DATABASE) | course_sharing_shell }}
course-sharing migrate
