"""A Celery app whose task publishes a course, as a Studio task does."""

import os

import django
from celery import Celery

app = Celery("host", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": os.environ["CELERY_FOLDER"],
    "data_folder_out": os.environ["CELERY_FOLDER"],
    "control_folder": os.environ["CELERY_FOLDER"] + "/control",
}
app.conf.worker_enable_remote_control = False

django.setup()


@app.task(name="publish")
def publish(course_id):
    from opaque_keys.edx.keys import CourseKey
    from xmodule.modulestore.django import SignalHandler

    SignalHandler.send(CourseKey.from_string(course_id))
