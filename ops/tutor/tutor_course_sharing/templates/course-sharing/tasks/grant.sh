# The worker's database user, with the least rights that it works with. All are taken away first, so that a setting
# that is no longer there leaves no right behind; a statement of a running worker that fails meanwhile is repeated.
export MYSQL_PWD={{ MYSQL_ROOT_PASSWORD | course_sharing_shell }}
mysql --user={{ MYSQL_ROOT_USERNAME | course_sharing_shell }} --host={{ MYSQL_HOST | course_sharing_shell }} --port={{ MYSQL_PORT }} <<'SQL'
{%- set user = (COURSE_SHARING_MYSQL_USERNAME | course_sharing_sql) ~ "@'%'" %}
{%- set password = COURSE_SHARING_MYSQL_PASSWORD | course_sharing_sql %}
{%- set database = "`" ~ OPENEDX_MYSQL_DATABASE ~ "`" %}
{%- set also = "".join([", "] * (COURSE_SHARING_SYNC_ALSO | length > 0)) ~ COURSE_SHARING_SYNC_ALSO | join(", ") %}
CREATE USER IF NOT EXISTS {{ user }} IDENTIFIED BY {{ password }};
ALTER USER {{ user }} IDENTIFIED BY {{ password }};
REVOKE ALL PRIVILEGES, GRANT OPTION FROM {{ user }};
GRANT SELECT (id, marketing_url, social_sharing_url{{ also }}), UPDATE (marketing_url{{ also }})
  ON {{ database }}.course_overviews_courseoverview TO {{ user }};
{%- for table in ["ledger", "reconcile", "blank", "failure", "dead_letter"] %}
GRANT SELECT, INSERT, UPDATE, DELETE ON {{ database }}.course_sharing_{{ table }} TO {{ user }};
{%- endfor %}
{%- for table in ["lease", "hint"] %}
GRANT SELECT, INSERT, UPDATE ON {{ database }}.course_sharing_{{ table }} TO {{ user }};
{%- endfor %}
GRANT SELECT, INSERT, DELETE ON {{ database }}.course_sharing_change TO {{ user }};
GRANT SELECT ON {{ database }}.course_sharing_migrations TO {{ user }};
{%- if COURSE_SHARING_RECONCILE_PAGE_SIZE == "lms" %}
GRANT SELECT (id, page_size) ON {{ database }}.catalog_catalogintegration TO {{ user }};
{%- endif %}
SQL
