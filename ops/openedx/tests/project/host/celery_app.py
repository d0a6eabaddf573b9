"""A Celery app whose task publishes a course, as a Studio task does."""

import os

import django
from celery import Celery
from kombu import Exchange, Queue

QUEUE = os.environ["CELERY_QUEUE"]

# Celery's file transport can lose a task: it moves a message's file away between its opening and its writing.
app = Celery("host", broker=os.environ["CELERY_BROKER"])
app.conf.broker_transport_options = {"confirm_publish": True}
app.conf.task_default_queue = QUEUE
# Both are gone a minute after the test: the queue for want of a consumer, the exchange for want of the queue.
app.conf.task_queues = [Queue(QUEUE, Exchange(QUEUE, auto_delete=True), routing_key=QUEUE, expires=60)]
app.conf.worker_enable_remote_control = False

django.setup()


@app.task(name="publish")
def publish(course_id):
    from opaque_keys.edx.keys import CourseKey
    from xmodule.modulestore.django import SignalHandler

    SignalHandler.send(CourseKey.from_string(course_id))
