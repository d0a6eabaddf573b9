# Drops the tables that init made. The column marketing_url and its links are the LMS's and stay.
export COURSE_SHARING_DATABASE__URL={{ ("mysql://" ~ (MYSQL_ROOT_USERNAME | course_sharing_url) ~ ":" ~ (MYSQL_ROOT_PASSWORD | course_sharing_url) ~ "@" ~ MYSQL_HOST ~ ":" ~ MYSQL_PORT ~ "/" ~ OPENEDX_MYSQL_DATABASE) | course_sharing_shell }}
course-sharing migrate down --yes
