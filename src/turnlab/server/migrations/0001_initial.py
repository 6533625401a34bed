"""Tracks, Tasks, and what was said, heard, replied and spoken."""

from django.db import migrations, models
from django.db.models.deletion import CASCADE


def content(*columns):
    """The columns that all texts and sounds have, with `columns` between them."""
    return [
        ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
        ("created_at", models.DateTimeField()),
        *columns,
        (
            "task",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=CASCADE,
                to="turnlab.task",
            ),
        ),
        ("track", models.ForeignKey(db_constraint=False, on_delete=CASCADE, to="turnlab.track")),
    ]


def text():
    return [("text", models.TextField(blank=True))]


def sound():
    return [
        ("file", models.FileField(max_length=255, upload_to="")),
        ("duration_s", models.FloatField()),
        ("sample_rate", models.PositiveIntegerField()),
    ]


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Track",
            fields=[
                ("track_id", models.CharField(max_length=163, primary_key=True, serialize=False)),
                ("cluster", models.CharField(max_length=128)),
                ("cluster_hash", models.CharField(max_length=128)),
                ("mode", models.CharField(max_length=16)),
                ("status", models.CharField(max_length=16)),
                ("speech_s", models.FloatField(null=True)),
                ("last_voiced_s", models.FloatField(null=True)),
                ("voice_to_voice_s", models.FloatField(null=True)),
                ("spans", models.JSONField(default=list)),
                ("host", models.JSONField(default=dict)),
                ("error_code", models.CharField(blank=True, max_length=64)),
                ("error_message", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["created_at"], name="track_by_time"),
                    models.Index(fields=["cluster", "created_at"], name="track_by_cluster"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=255)),
                ("task_name", models.CharField(max_length=255)),
                ("status", models.CharField(max_length=16)),
                ("parameters", models.JSONField(default=dict)),
                ("result_json", models.JSONField(default=dict)),
                ("error_code", models.CharField(blank=True, max_length=64)),
                ("error_message", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                (
                    "track",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=CASCADE,
                        related_name="tasks",
                        to="turnlab.track",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "started"])),
                        fields=["status", "created_at"],
                        name="task_unfinished",
                    ),
                ],
            },
        ),
        migrations.CreateModel(name="DataAudio", fields=content(*sound())),
        migrations.CreateModel(name="DataText", fields=content(*text())),
        migrations.CreateModel(name="ResText", fields=content(*text())),
        migrations.CreateModel(name="ResSpeech", fields=content(*sound(), *text())),
    ]
