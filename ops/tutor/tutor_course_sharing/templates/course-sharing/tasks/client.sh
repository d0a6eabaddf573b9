# The account that the worker reads the Catalog as. Staff, because course-discovery lets others ask 200 times an hour.
{%- set username = COURSE_SHARING_OAUTH2_USERNAME | course_sharing_shell %}
./manage.py lms manage_user {{ username }} {{ (COURSE_SHARING_OAUTH2_USERNAME ~ "@openedx") | course_sharing_shell }} --staff --unusable-password
./manage.py lms create_dot_application \
  --grant-type client-credentials \
  --client-id {{ COURSE_SHARING_OAUTH2_KEY | course_sharing_shell }} \
  --client-secret {{ COURSE_SHARING_OAUTH2_SECRET | course_sharing_shell }} \
  --scopes user_id \
  --skip-authorization \
  --update \
  course-sharing {{ username }}
{%- if COURSE_SHARING_EVENTS_ENABLED %}
python -c 'import course_sharing_events' || echo "The openedx image has no course-sharing-events yet, so no event is sent. Build it: tutor images build openedx" >&2
{%- endif %}
