"""Tests of the control plane's schema: how it is opened, watched and led."""
