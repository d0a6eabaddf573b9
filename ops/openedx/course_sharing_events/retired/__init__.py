"""An app that takes the place of the LMS's own nightly command. For the first place of ``INSTALLED_APPS``."""
