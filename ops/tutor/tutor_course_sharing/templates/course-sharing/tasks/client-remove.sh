{%- set username = COURSE_SHARING_OAUTH2_USERNAME | course_sharing_shell %}
export CLIENT_ID={{ COURSE_SHARING_OAUTH2_KEY | course_sharing_shell }}
./manage.py lms shell -c "import os
from oauth2_provider.models import get_application_model
get_application_model().objects.filter(client_id=os.environ['CLIENT_ID']).delete()"
./manage.py lms manage_user {{ username }} {{ (COURSE_SHARING_OAUTH2_USERNAME ~ "@openedx") | course_sharing_shell }} --remove
