export MYSQL_PWD={{ MYSQL_ROOT_PASSWORD | course_sharing_shell }}
mysql --user={{ MYSQL_ROOT_USERNAME | course_sharing_shell }} --host={{ MYSQL_HOST | course_sharing_shell }} --port={{ MYSQL_PORT }} <<'SQL'
DROP TABLE IF EXISTS `{{ OPENEDX_MYSQL_DATABASE }}`.course_sharing_migrations;
DROP USER IF EXISTS {{ COURSE_SHARING_MYSQL_USERNAME | course_sharing_sql }}@'%';
SQL
